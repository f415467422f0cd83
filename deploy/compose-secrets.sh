#!/bin/sh
# Makes the secrets of compose.yaml in deploy/secrets/, once; what is there is left as it is. Keep a copy of them.
set -eu
folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"

random() { head -c "$1" /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }

if [ ! -e "$folder/postgres_password" ]; then
    random 24 >"$folder/postgres_password"
    printf 'postgres://waybill:%s@postgres/waybill' "$(cat "$folder/postgres_password")" >"$folder/database_url"
fi
# A Fernet key: 32 bytes in URL-safe base64.
[ -e "$folder/secret_keys" ] || random 32 >"$folder/secret_keys"
# The containers' user is not the one who runs this, and compose hands files over with their owner and mode.
chmod 644 "$folder"/*
chmod 711 "$folder"
echo "Secrets are in $folder"
