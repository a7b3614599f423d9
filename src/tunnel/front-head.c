#include "tunnel/front-head.h"

#include "net/addr.h"
#include "net/http.h"
#include "tunnel/limits.h"

enum { MAX_HOST = 253 };

static enum front_head_result refuse(struct front_head *h, int status, const char *reason)
{
    h->status = status;
    h->reason = reason;
    return FRONT_HEAD_REFUSED;
}

/* Letters, digits, '-', '.', '_' of a name or IPv4 address; IPv6 digits and colons when it came in brackets. */
static bool is_host(struct str host, bool bracketed)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (bracketed ? !(hex || c == ':' || c == '.') : !(hex || letter || c == '-' || c == '.' || c == '_')) {
            return false;
        }
    }
    return host.len > 0 && host.len <= MAX_HOST;
}

static enum front_head_result target(struct str text, struct front_head *h)
{
    bool bracketed = text.len > 0 && text.ptr[0] == '[';
    struct net_addr addr;
    h->port = 0;
    if (!net_split_host_port(text, &h->host, &h->port) || h->port == 0) {
        return refuse(h, 400, "the target is not host:port");
    }
    if (!is_host(h->host, bracketed) || (bracketed && !net_addr_parse_ip(h->host, h->port, &addr))) {
        return refuse(h, 400, "the target's host is neither a name nor an address");
    }
    return FRONT_HEAD_DONE;
}

static enum front_head_result request_line(struct str line, struct front_head *h)
{
    struct str method, rest, where, version;
    if (!str_cut(line, ' ', &method, &rest) || !str_cut(rest, ' ', &where, &version) || str_empty(where)) {
        return refuse(h, 400, "the request line is not \"METHOD target HTTP/1.1\"");
    }
    if (!str_eq_c(version, "HTTP/1.1") && !str_eq_c(version, "HTTP/1.0")) {
        return refuse(h, 505, "only HTTP/1.1 is spoken here");
    }
    h->connect = str_eq_c(method, "CONNECT");
    if (h->connect) {
        return target(where, h);
    }
    if (!str_eq_c(method, "GET")) {
        return refuse(h, 405, "only CONNECT and GET are answered here");
    }
    h->path = where;
    return where.ptr[0] == '/' ? FRONT_HEAD_DONE : refuse(h, 400, "the path does not begin with \"/\"");
}

static enum front_head_result header_line(struct str line, struct front_head *h)
{
    struct str name, value;
    if (!str_cut(line, ':', &name, &value) || !http_is_token(name)) {
        return refuse(h, 400, "a header is not \"name: value\"");
    }
    value = str_trim(value);
    if ((str_eq_nocase(name, STR("content-length")) && !str_eq_c(value, "0")) || str_eq_nocase(name, STR("transfer-encoding"))) {
        return refuse(h, 400, "a body is not taken here");
    }
    return FRONT_HEAD_DONE;
}

enum front_head_result front_head_parse(struct str data, struct front_head *ret)
{
    struct str rest = data;
    *ret = (struct front_head){ 0 };
    for (size_t i = 0; i < data.len && i < TUNNEL_MAX_HEAD; i++) {
        unsigned char c = (unsigned char)data.ptr[i];
        bool ends = c == '\n' && i > 0 && data.ptr[i - 1] == '\r';
        if (c == '\n' && !ends) {
            return refuse(ret, 400, "a line does not end with CR LF");
        }
        if (c != '\n' && i > 0 && data.ptr[i - 1] == '\r') {
            return refuse(ret, 400, "a CR stands alone");
        }
        if ((c < 0x20 && c != '\r' && c != '\n' && c != '\t') || c >= 0x7f) {
            return refuse(ret, 400, "the head holds a control byte, or one that is no ASCII");
        }
        if (!ends) {
            continue;
        }
        struct str line = str_n(rest.ptr, (size_t)(data.ptr + i - 1 - rest.ptr));
        bool first = rest.ptr == data.ptr;
        rest = str_sub(data, i + 1, data.len);
        if (line.len == 0 && !first) {
            ret->size = i + 1;
            return FRONT_HEAD_DONE;
        }
        enum front_head_result r = first ? request_line(line, ret) : header_line(line, ret);
        if (r != FRONT_HEAD_DONE) {
            return r;
        }
    }
    return data.len >= TUNNEL_MAX_HEAD ? refuse(ret, 431, "the head is longer than 8 KiB") : FRONT_HEAD_MORE;
}
