/* The HTTP side of upgrades to exec channels. */
#include <assert.h>

#include "net/channels.h"
#include "net/websocket.h"

/* In the order of enum channels_protocol, which is the order of preference. */
const struct str channels_ws_protocols[5] = {
    [CHANNELS_WS_V5] = STR_INIT("v5.channel.k8s.io"),
    [CHANNELS_WS_V4] = STR_INIT("v4.channel.k8s.io"),
    [CHANNELS_WS_V4_BASE64] = STR_INIT("v4.base64.channel.k8s.io"),
    [CHANNELS_WS_V1] = STR_INIT("channel.k8s.io"),
    [CHANNELS_WS_V1_BASE64] = STR_INIT("base64.channel.k8s.io"),
};

bool channels_protocol_parse(struct str name, enum channels_protocol *ret)
{
    if (str_empty(name)) {
        *ret = CHANNELS_WS_V1;
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(channels_ws_protocols); i++) {
        if (str_eq(name, channels_ws_protocols[i])) {
            *ret = (enum channels_protocol)i;
            return true;
        }
    }
    return false;
}

bool websocket_is_requested(const struct http_headers *h)
{
    return http_header_has_token(h, STR("upgrade"), STR("websocket")) &&
           http_header_has_token(h, STR("connection"), STR("upgrade"));
}

bool channels_accept_websocket(const struct http_headers *h, const struct str *ours, size_t n_ours,
                               struct channels_handshake *ret, struct err *err)
{
    char accept[WEBSOCKET_ACCEPT_SIZE];
    struct str offered;
    bool any_offered = false;
    size_t pos = 0;

    if (!websocket_is_requested(h)) {
        return err_set(err, ERR_BAD_REQUEST, "not a WebSocket request: \"Connection: Upgrade\" and \"Upgrade: websocket\" are needed");
    }
    if (!str_eq(http_header_get(h, STR("sec-websocket-version")), STR("13"))) {
        return err_set(err, ERR_BAD_REQUEST, "WebSocket version is missing or not 13");
    }
    if (!websocket_accept(str_trim(http_header_get(h, STR("sec-websocket-key"))), accept)) {
        return err_set(err, ERR_BAD_REQUEST, "Sec-WebSocket-Key is missing or not 16 bytes in base64");
    }
    *ret = (struct channels_handshake){ 0 };
    while (!ret->protocol.ptr && http_header_next(h, STR("sec-websocket-protocol"), &pos, &offered)) {
        any_offered |= !str_empty(str_trim(offered));
        ret->protocol = websocket_choose_protocol(offered, ours, n_ours);
    }
    if (any_offered && !ret->protocol.ptr) {
        return err_set(err, ERR_BAD_REQUEST, "none of the WebSocket protocols offered is spoken here: %.*s",
                       STR_ARG(str_sub(http_header_get(h, STR("sec-websocket-protocol")), 0, 200)));
    }
    memcpy(ret->accept, accept, sizeof(accept));
    ret->headers[ret->n_headers++] = (struct http_header){ STR("upgrade"), STR("websocket") };
    ret->headers[ret->n_headers++] = (struct http_header){ STR("sec-websocket-accept"), str_c(ret->accept) };
    if (ret->protocol.ptr) {
        ret->headers[ret->n_headers++] = (struct http_header){ STR("sec-websocket-protocol"), ret->protocol };
    }
    return true;
}

bool channels_check_spdy_answer(const struct http_headers *h, struct str version, struct err *err)
{
    struct str got = http_header_get(h, STR("x-stream-protocol-version"));
    if (!http_header_has_token(h, STR("upgrade"), STR("SPDY/3.1"))) {
        return err_set(err, ERR_UNAVAILABLE, "the server switched to another protocol than SPDY/3.1");
    }
    if (!str_eq(got, version)) {
        return err_set(err, ERR_UNAVAILABLE, "the server chose stream protocol \"%.*s\", wanted was \"%.*s\"", STR_ARG(got),
                       STR_ARG(version));
    }
    return true;
}
