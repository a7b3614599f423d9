#include "api/names.h"

#define LABEL_RE "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define QUALIFIED_RE "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
#define USED "regex used for validation is '"

#define LABEL_MSG \
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with " \
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', " USED LABEL_RE "')"
#define SUBDOMAIN_MSG \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and " \
    "end with an alphanumeric character (e.g. 'example.com', " USED LABEL_RE "(\\." LABEL_RE ")*')"
#define QUALIFIED_MSG \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " \
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', " USED QUALIFIED_RE "')"

static bool add(struct names_errs *e, const char *msg)
{
    if (e->n < NAMES_MAX) {
        e->msg[e->n++] = msg;
    }
    return false;
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool is_label(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!is_lower(c) && !is_digit(c) && !(c == '-' && i > 0 && i + 1 < s.len)) {
            return false;
        }
    }
    return s.len > 0;
}

static bool is_subdomain(struct str s)
{
    struct str rest = s.ptr ? s : STR_EMPTY, piece;
    while (str_split(&rest, '.', &piece)) {
        if (!is_label(piece)) {
            return false;
        }
    }
    return true;
}

static bool is_qualified_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool inner = (c == '-' || c == '_' || c == '.') && i > 0 && i + 1 < s.len;
        if (!is_letter(c) && !is_digit(c) && !inner) {
            return false;
        }
    }
    return s.len > 0;
}

/* Adds 'too_long' and 'bad' where they apply. */
static bool check(struct names_errs *e, bool too_long, const char *too_long_msg, bool good, const char *bad_msg)
{
    if (too_long) {
        add(e, too_long_msg);
    }
    if (!good) {
        add(e, bad_msg);
    }
    return !too_long && good;
}

bool names_dns1123_label(struct str s, struct names_errs *e)
{
    return check(e, s.len > 63, "must be no more than 63 characters", is_label(s), LABEL_MSG);
}

bool names_dns1123_subdomain(struct str s, struct names_errs *e)
{
    return check(e, s.len > 253, "must be no more than 253 characters", is_subdomain(s), SUBDOMAIN_MSG);
}

bool names_dns1035_label(struct str s, struct names_errs *e)
{
    return check(e, s.len > 63, "must be no more than 63 characters", is_label(s) && is_lower(s.ptr[0]),
                 "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
                 "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', " USED
                 "[a-z]([-a-z0-9]*[a-z0-9])?')");
}

bool names_wildcard_subdomain(struct str s, struct names_errs *e)
{
    bool good = str_starts(s, STR("*.")) && is_subdomain(str_sub(s, 2, s.len));
    return check(e, s.len > 253, "must be no more than 253 characters", good,
                 "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
                 "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. "
                 "'*.example.com', " USED "\\*\\." LABEL_RE "(\\." LABEL_RE ")*')");
}

bool names_qualified(struct str s, struct names_errs *e)
{
    struct str prefix, name;
    unsigned before = e->n;
    if (!str_cut(s, '/', &prefix, &name)) {
        name = s;
    } else if (str_find_char(name, '/') >= 0) {
        return add(e, "a valid label key " QUALIFIED_MSG
                      " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
    } else if (prefix.len == 0) {
        add(e, "prefix part must be non-empty");
    } else {
        check(e, prefix.len > 253, "prefix part must be no more than 253 bytes", is_subdomain(prefix),
              "prefix part " SUBDOMAIN_MSG);
    }
    if (name.len == 0) {
        add(e, "name part must be non-empty");
    } else if (name.len > 63) {
        add(e, "name part must be no more than 63 bytes");
    }
    if (!is_qualified_name(name)) {
        add(e, "name part " QUALIFIED_MSG);
    }
    return e->n == before;
}

bool names_label_value(struct str s, struct names_errs *e)
{
    return check(e, s.len > 63, "must be no more than 63 bytes", s.len == 0 || is_qualified_name(s),
                 "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
                 "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', " USED
                 "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')");
}

bool names_path_segment(struct str s, struct names_errs *e)
{
    if (str_eq_c(s, ".")) {
        return add(e, "may not be '.'");
    }
    if (str_eq_c(s, "..")) {
        return add(e, "may not be '..'");
    }
    bool slash = str_find_char(s, '/') >= 0, percent = str_find_char(s, '%') >= 0;
    return check(e, slash, "may not contain '/'", !percent, "may not contain '%'");
}

bool names_port_name(struct str s, struct names_errs *e)
{
    bool letter = false, charset = s.len > 0;
    unsigned before = e->n;
    for (size_t i = 0; i < s.len; i++) {
        letter = letter || is_lower(s.ptr[i]);
        charset = charset && (is_lower(s.ptr[i]) || is_digit(s.ptr[i]) || s.ptr[i] == '-');
    }
    if (s.len > 15) {
        add(e, "must be no more than 15 characters");
    }
    if (!charset) {
        add(e, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if (!letter) {
        add(e, "must contain at least one letter (a-z)");
    }
    if (str_find(s, STR("--")) >= 0) {
        add(e, "must not contain consecutive hyphens");
    }
    if (s.len && (s.ptr[0] == '-' || s.ptr[s.len - 1] == '-')) {
        add(e, "must not begin or end with a hyphen");
    }
    return e->n == before;
}

bool names_config_key(struct str s, struct names_errs *e)
{
    bool charset = s.len > 0;
    unsigned before = e->n;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        charset = charset && (is_letter(c) || is_digit(c) || c == '-' || c == '_' || c == '.');
    }
    if (s.len > 253) {
        add(e, "must be no more than 253 characters");
    }
    if (!charset) {
        add(e, "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
               "'KEY_NAME',  or 'key-name', " USED "[-._a-zA-Z0-9]+')");
    }
    if (str_eq_c(s, ".")) {
        add(e, "must not be '.'");
    } else if (str_eq_c(s, "..")) {
        add(e, "must not be '..'");
    } else if (str_starts(s, STR(".."))) {
        add(e, "must not start with '..'");
    }
    return e->n == before;
}

bool names_env_var(struct str s, struct names_errs *e)
{
    bool good = s.len > 0;
    for (size_t i = 0; i < s.len; i++) {
        good = good && s.ptr[i] >= ' ' && s.ptr[i] <= '~' && s.ptr[i] != '=';
    }
    return good ||
           add(e, "a valid environment variable name must consist only of printable ASCII characters other than '='");
}

bool names_http_header(struct str s, struct names_errs *e)
{
    bool good = s.len > 0;
    for (size_t i = 0; i < s.len; i++) {
        good = good && (is_letter(s.ptr[i]) || is_digit(s.ptr[i]) || s.ptr[i] == '-');
    }
    return good || add(e, "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', " USED
                          "[-A-Za-z0-9]+')");
}

bool names_c_identifier(struct str s, struct names_errs *e)
{
    bool good = s.len > 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        good = good && (is_letter(c) || c == '_' || (i > 0 && is_digit(c)));
    }
    return good || add(e, "a valid C identifier must start with alphabetic character or '_', followed by a string of "
                          "alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', " USED
                          "[A-Za-z_][A-Za-z0-9_]*')");
}

bool names_percent(struct str s, struct names_errs *e)
{
    bool good = s.len > 1 && s.ptr[s.len - 1] == '%';
    for (size_t i = 0; i + 1 < s.len; i++) {
        good = good && is_digit(s.ptr[i]);
    }
    return good || add(e, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
                          "'93%', " USED "[0-9]+%')");
}

bool names_port_number(int64_t port, struct names_errs *e)
{
    return (port >= 1 && port <= 65535) || add(e, "must be between 1 and 65535, inclusive");
}
