/* Subjects and subject alternative names, to and from OpenSSL's objects. */
#include <arpa/inet.h>

#include <openssl/x509v3.h>

#include "pki/cert.h"
#include "pki/pki-private.h"

void pki_name_freep(X509_NAME **n)
{
    X509_NAME_free(*n);
}

void pki_ext_freep(X509_EXTENSION **e)
{
    X509_EXTENSION_free(*e);
}

static void general_names_freep(GENERAL_NAMES **n)
{
    GENERAL_NAMES_free(*n);
}

/* ---- writing ---- */

static bool add_entry(X509_NAME *n, int nid, struct str value, int set, struct err *err)
{
    if (value.len == 0 || value.len > 1024 || !str_is_utf8(value) ||
        memchr(value.ptr, 0, value.len)) {
        return pki_fail(err, ERR_INVALID, "a subject name is empty, too long or not UTF-8");
    }
    /* X.520 bounds CN and O to 64 characters; names of nodes are longer and Go writes them all the
     * same, so the entry is made with its type given, which skips OpenSSL's table of bounds. */
    if (X509_NAME_add_entry_by_NID(n, nid, V_ASN1_UTF8STRING, (const unsigned char *)value.ptr,
                                   (int)value.len, -1, set) != 1) {
        return pki_fail(err, ERR_INVALID, "a subject name cannot be encoded");
    }
    return true;
}

X509_NAME *pki_name_new(const struct pki_names *names, struct err *err)
{
    CLEANUP(pki_name_freep) X509_NAME *n = X509_NAME_new();
    if (!n) {
        (void)pki_fail(err, ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    if (names->n_orgs > PKI_MAX_NAMES) {
        (void)pki_fail(err, ERR_TOO_LARGE, "a subject has more than %d organisations",
                       PKI_MAX_NAMES);
        return NULL;
    }
    for (size_t i = 0; i < names->n_orgs; i++) {
        if (!add_entry(n, NID_organizationName, names->orgs[i], i == 0 ? 0 : -1, err)) {
            return NULL;
        }
    }
    if (!str_empty(names->cn) && !add_entry(n, NID_commonName, names->cn, 0, err)) {
        return NULL;
    }
    return TAKE(n);
}

static bool add_ia5(GENERAL_NAMES *list, int type, struct str value, struct err *err)
{
    for (size_t i = 0; i < value.len; i++) {
        if ((unsigned char)value.ptr[i] <= ' ' || (unsigned char)value.ptr[i] >= 0x7f) {
            return pki_fail(
                err, ERR_INVALID,
                "a subject alternative name holds other characters than printable ASCII");
        }
    }
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();
    if (str_empty(value) || !g || !s || ASN1_STRING_set(s, value.ptr, (int)value.len) != 1) {
        GENERAL_NAME_free(g);
        ASN1_IA5STRING_free(s);
        return pki_fail(err, ERR_INVALID, "a subject alternative name is empty");
    }
    GENERAL_NAME_set0_value(g, type, s);
    if (sk_GENERAL_NAME_push(list, g) == 0) {
        GENERAL_NAME_free(g);
        return pki_fail(err, ERR_NO_MEMORY, "out of memory");
    }
    return true;
}

static bool add_ip(GENERAL_NAMES *list, struct str text, struct err *err)
{
    char cstr[INET6_ADDRSTRLEN];
    unsigned char raw[16];
    int len = 0;
    if (str_to_cstr(text, cstr, sizeof(cstr))) {
        len = inet_pton(AF_INET, cstr, raw) == 1 ? 4 : inet_pton(AF_INET6, cstr, raw) == 1 ? 16 : 0;
    }
    if (len == 0) {
        return pki_fail(err, ERR_INVALID, "\"%.*s\" is not an IP address", STR_ARG(text));
    }
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
    if (!g || !s || ASN1_OCTET_STRING_set(s, raw, len) != 1) {
        GENERAL_NAME_free(g);
        ASN1_OCTET_STRING_free(s);
        return pki_fail(err, ERR_NO_MEMORY, "out of memory");
    }
    GENERAL_NAME_set0_value(g, GEN_IPADD, s);
    if (sk_GENERAL_NAME_push(list, g) == 0) {
        GENERAL_NAME_free(g);
        return pki_fail(err, ERR_NO_MEMORY, "out of memory");
    }
    return true;
}

X509_EXTENSION *pki_san_new(const struct pki_names *names, bool critical, struct err *err)
{
    if (names->n_dns + names->n_ips + names->n_uris + names->n_emails == 0) {
        if (err) {
            err->code = ERR_NONE;
        }
        return NULL;
    }
    if (names->n_dns + names->n_ips + names->n_uris + names->n_emails > PKI_MAX_NAMES) {
        (void)pki_fail(err, ERR_TOO_LARGE, "more than %d subject alternative names", PKI_MAX_NAMES);
        return NULL;
    }
    CLEANUP(general_names_freep) GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < names->n_dns; i++) {
        ok = add_ia5(list, GEN_DNS, names->dns[i], err);
    }
    for (size_t i = 0; ok && i < names->n_emails; i++) {
        ok = add_ia5(list, GEN_EMAIL, names->emails[i], err);
    }
    for (size_t i = 0; ok && i < names->n_ips; i++) {
        ok = add_ip(list, names->ips[i], err);
    }
    for (size_t i = 0; ok && i < names->n_uris; i++) {
        ok = add_ia5(list, GEN_URI, names->uris[i], err);
    }
    if (!ok) {
        return NULL;
    }
    X509_EXTENSION *e = X509V3_EXT_i2d(NID_subject_alt_name, critical, list);
    if (!e) {
        (void)pki_fail(err, ERR_INTERNAL, "the subject alternative names cannot be encoded");
    }
    return e;
}

/* ---- reading ---- */

static bool text_of(const ASN1_STRING *s, struct arena *a, struct str *ret, struct err *err)
{
    unsigned char *utf8 = NULL;
    int n = ASN1_STRING_to_UTF8(&utf8, s);
    struct str text = str_n((const char *)utf8, n > 0 ? (size_t)n : 0);
    /* A NUL or a control character would read differently in a log, a C program or a Go program. */
    bool fit = n >= 0 && str_is_utf8(text);
    for (size_t i = 0; fit && i < text.len; i++) {
        fit = (unsigned char)text.ptr[i] >= ' ' && text.ptr[i] != 0x7f;
    }
    *ret = fit ? arena_str(a, n > 0 ? text : STR_EMPTY) : STR_NULL;
    OPENSSL_free(utf8);
    if (!fit) {
        return pki_fail(err, ERR_INVALID,
                        "a name in the certificate holds control characters or invalid text");
    }
    return ret->ptr ? true
                    : pki_fail(err, ERR_TOO_LARGE, "the names in the certificate are too large");
}

static bool read_subject(const X509_NAME *subject, struct arena *a, struct pki_names *ret,
                         struct err *err)
{
    int n = X509_NAME_entry_count(subject);
    if (n > PKI_MAX_NAMES) {
        return pki_fail(err, ERR_TOO_LARGE, "the subject has more than %d parts", PKI_MAX_NAMES);
    }
    struct str *orgs = arena_new_n(a, struct str, (size_t)MAX(n, 1));
    if (!orgs) {
        return pki_fail(err, ERR_TOO_LARGE, "the names in the certificate are too large");
    }
    ret->orgs = orgs;
    for (int i = 0; i < n; i++) {
        const X509_NAME_ENTRY *e = X509_NAME_get_entry(subject, i);
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
        struct str text;
        if (nid != NID_commonName && nid != NID_organizationName) {
            continue;
        }
        if (!text_of(X509_NAME_ENTRY_get_data(e), a, &text, err)) {
            return false;
        }
        if (nid == NID_commonName) {
            ret->cn = text; /* the last one counts, as in Go */
        } else {
            orgs[ret->n_orgs++] = text;
        }
    }
    return true;
}

static bool read_ip(const ASN1_OCTET_STRING *s, struct arena *a, struct str *ret, struct err *err)
{
    char text[INET6_ADDRSTRLEN];
    int len = ASN1_STRING_length(s);
    if ((len != 4 && len != 16) ||
        !inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), text, sizeof(text))) {
        return pki_fail(err, ERR_INVALID, "an IP address in the certificate has %d bytes", len);
    }
    *ret = arena_str(a, str_c(text));
    return ret->ptr ? true
                    : pki_fail(err, ERR_TOO_LARGE, "the names in the certificate are too large");
}

bool pki_names_read(const X509_NAME *subject, const STACK_OF(X509_EXTENSION) * exts,
                    struct arena *a, struct pki_names *ret, struct err *err)
{
    *ret = (struct pki_names){ 0 };
    if (!read_subject(subject, a, ret, err)) {
        return false;
    }
    int critical = -1;
    CLEANUP(general_names_freep)
    GENERAL_NAMES *list = X509V3_get_d2i(exts, NID_subject_alt_name, &critical, NULL);
    if (!list) {
        return critical == -1
                   ? true
                   : pki_fail(err, ERR_INVALID, "the subject alternative names cannot be read");
    }
    int n = sk_GENERAL_NAME_num(list);
    if (n > PKI_MAX_NAMES) {
        return pki_fail(err, ERR_TOO_LARGE, "more than %d subject alternative names",
                        PKI_MAX_NAMES);
    }
    struct str *all = arena_new_n(a, struct str, 4 * (size_t)MAX(n, 1));
    if (!all) {
        return pki_fail(err, ERR_TOO_LARGE, "the names in the certificate are too large");
    }
    struct str *dns = all, *ips = all + n, *uris = all + 2 * n, *emails = all + 3 * n;
    ret->dns = dns;
    ret->ips = ips;
    ret->uris = uris;
    ret->emails = emails;
    for (int i = 0; i < n; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(list, i);
        bool ok = true;
        if (g->type == GEN_DNS) {
            ok = text_of(g->d.dNSName, a, &dns[ret->n_dns++], err);
        } else if (g->type == GEN_EMAIL) {
            ok = text_of(g->d.rfc822Name, a, &emails[ret->n_emails++], err);
        } else if (g->type == GEN_URI) {
            ok = text_of(g->d.uniformResourceIdentifier, a, &uris[ret->n_uris++], err);
        } else if (g->type == GEN_IPADD) {
            ok = read_ip(g->d.iPAddress, a, &ips[ret->n_ips++], err);
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}
