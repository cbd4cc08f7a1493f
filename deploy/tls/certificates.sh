#!/bin/sh
# Makes certificates for the lines between our own parts, all signed by one authority of this installation.
#   certificates.sh FOLDER NAME[=HOST,ADDRESS...] ...
# FOLDER gets ca.pem and ca.key, once, and for each NAME a NAME.pem and NAME.key that are good for a year. To renew one,
# run it again. NAME is whom PostgreSQL takes the bearer for; HOST and ADDRESS are where others find a server.
# Keep ca.key off the machines that serve: whoever has it can be anybody.
set -eu
umask 077
folder=$1; shift
mkdir -p "$folder"
curve="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
if [ ! -e "$folder/ca.key" ]; then
  openssl req -x509 $curve -days 3650 -subj "/CN=Varde internal authority" \
    -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$folder/ca.key" -out "$folder/ca.pem" 2>/dev/null
fi
for each in "$@"; do
  name=${each%%=*}; hosts=${each#"$name"}; names=
  for host in $(printf %s "${hosts#=}" | tr , ' '); do
    case $host in *:*) kind=IP ;; *[!0-9.]*) kind=DNS ;; *) kind=IP ;; esac
    names="$names${names:+,}$kind:$host"
  done
  openssl req -new $curve -subj "/CN=$name" -keyout "$folder/.$name.key" -out "$folder/.$name.csr" 2>/dev/null
  printf 'basicConstraints=critical,CA:FALSE\n%s' "${names:+subjectAltName=$names}" >"$folder/.$name.ext"
  openssl x509 -req -in "$folder/.$name.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -days 365 \
    -extfile "$folder/.$name.ext" -out "$folder/.$name.pem" 2>/dev/null
  rm "$folder/.$name.csr" "$folder/.$name.ext"
  # Renamed into their place: a program that looks in between finds an old pair or a new one.
  mv "$folder/.$name.key" "$folder/$name.key"
  mv "$folder/.$name.pem" "$folder/$name.pem"
  echo "$folder/$name.pem"
done
