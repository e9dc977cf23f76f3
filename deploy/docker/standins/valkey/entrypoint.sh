#!/bin/sh
# As in the official image: root becomes the user valkey, and other containers may connect without a password.
set -e
case "$1" in -* | *.conf) set -- valkey-server "$@" ;; esac
[ "$1" = valkey-server ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
    chown valkey:valkey .
    exec setpriv --reuid=valkey --regid=valkey --init-groups -- "$0" "$@"
fi
case "$*" in *protected-mode*) ;; *) set -- "$@" --protected-mode no ;; esac
exec "$@"
