#!/bin/bash
# healthy.sh PORT: exit code 0 if /healthz answers 200. Bash alone: a Python start every few seconds in every container
# would cost more than the system itself. The answer is read to its end, or the server would log a broken connection.
exec 3<> "/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
mapfile -t answer <&3
[[ ${answer[0]} == HTTP/*" 200 "* ]]
