# Every chapter becomes a page.
for source in pages/*.md; do
  page=$(basename "$source" .md).html
  { echo '<!doctype html><link rel=stylesheet href=site.css>'
    awk '/^# /{print "<h1>" substr($0, 3) "</h1>"; next} NF{print "<p>" $0 "</p>"}' "$source"; } > "$page"
  printf '\033[32m✔\033[0m %-18s %6d bytes\n' "$page" "$(wc -c < "$page")"
  sleep 0.5
done
