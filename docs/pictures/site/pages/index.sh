# Which word stands in which chapter.
echo '{'
for source in pages/*.md; do
  words=$(tr -cs 'a-z' '\n' < "$source" | sort -u)
  echo "indexed $(echo "$words" | wc -l) words of $(basename "$source")" >&2
  echo "\"$source\": \"$(echo "$words" | tr '\n' ' ')\","
  sleep 0.7
done
echo '"end": ""}'
