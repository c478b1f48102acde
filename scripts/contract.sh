#!/usr/bin/env bash
# Reads the document of the API as programs do: requests made from it are answered as it says, as
# each role; and two generators of clients take it, with one call of each.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$PWD/target/debug/belvedere
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
"$program" serve --demo --listen 127.0.0.1:0 --data "$folder/data" > "$folder/out" 2> "$folder/log" &
server=$!
until grep -q 'is ready at' "$folder/out"; do
  kill -0 "$server" || { cat "$folder/log"; exit 1; }
  read -r -t 0.1 <> <(:) || true
done
url=$(sed -n 's/^belvedere is ready at //p' "$folder/out" | sed 's:/*$::')
seed=${SEED:-$(date +%s)}
echo "seed $seed"
for role in viewer operator admin; do
  token=$("$program" token create "$role" --role "$role" --data "$folder/data")
  "$TOOLS/contract/bin/schemathesis" --config-file scripts/contract.toml run "$url/api/v1/openapi.json" \
    --header "Authorization: Bearer $token" --phases coverage,fuzzing --max-examples "${EXAMPLES:-20}" --seed "$seed" \
    --continue-on-failure --warnings off --no-color --suppress-health-check all
done
# Generators that do not know streams yet are given 3.1.
curl -sf -H "Authorization: Bearer $token" "$url/api/v1/openapi.json?version=3.1" > "$folder/openapi.json"
"$TOOLS/contract/bin/openapi-python-client" generate --path "$folder/openapi.json" --output-path "$folder/client" --meta none > /dev/null
PYTHONPATH=$folder "$TOOLS/contract/bin/python" scripts/contract_client.py "$url" "$token"
end2end/node_modules/.bin/openapi-typescript "$folder/openapi.json" --output "$folder/schema.d.ts"
cp scripts/contract_client.mts "$folder/"
node_modules=$PWD/end2end/node_modules
ln -s "$node_modules" "$folder/node_modules"
(cd "$folder" && "$node_modules/.bin/tsc" --noEmit --strict --skipLibCheck --types node --target es2022 --module nodenext contract_client.mts)
end2end/node_modules/.bin/esbuild "$folder/contract_client.mts" --bundle --platform=node --format=esm --log-level=warning --outfile="$folder/client.mjs"
node "$folder/client.mjs" "$url" "$token"
