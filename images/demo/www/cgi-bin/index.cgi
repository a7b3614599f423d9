#!/bin/sh
# The demo page. One byte is appended per request, so requests at once are counted right.
printf . >>/tmp/requests
requests=$(wc -c </tmp/requests)
version=$(cat /www/version)
pod=${POD_NAME:-$(hostname)}
node=${NODE_NAME:-unknown}
case ${HTTP_ACCEPT:-} in
*text/html*)
    printf 'Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n\r\n'
    sed -e "s|@POD@|$pod|g" -e "s|@NODE@|$node|g" -e "s|@REQUESTS@|$requests|g" -e "s|@VERSION@|$version|g" \
        -e "s|@COLOUR@|$(cat /www/colour)|g" /www/page.html
    ;;
*)
    printf 'Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\r\n'
    printf 'version=%s pod=%s node=%s requests=%s\n' "$version" "$pod" "$node" "$requests"
    ;;
esac
