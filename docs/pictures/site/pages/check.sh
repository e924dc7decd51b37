# Every link has to lead somewhere.
for source in pages/*.md; do
  for link in $(grep -o '[a-z0-9-]*\.html' "$source"); do
    if [ -e "$link" ]; then
      echo "$source -> $link" >> good
    else
      echo "$source -> $link" >> bad
    fi
  done
done
printf '\033[32m✔\033[0m %d links lead to a page\n' "$(wc -l < good)"
[ -e bad ] || exit 0
sed "s/.*/$(printf '\033')[31m✖ & is not there$(printf '\033')[0m/" bad
exit 1
