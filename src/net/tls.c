#include "net/tls-private.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>

#include "base/time-floor.h"
#include "net/addr.h"
#include "net/limits.h"
#include "net/tls-key.h"

#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
/* Forward secret AEAD only: the rest is on the list that RFC 9113 (appendix A) forbids under HTTP/2. */
#define CIPHERS_12 \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
/* What either side may sign with: SHA-2 of 256 bits and more. */
#define SIGNATURES \
    "ECDSA+SHA256:ed25519:RSA-PSS+SHA256:ECDSA+SHA384:ECDSA+SHA512:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512"
/* What a peer's certificate message may hold (the default is 100 KiB, before anybody has proved anything). */
enum { MAX_CERT_LIST = 32 * 1024 };

static int peer_index = -1;    /* SSL -> struct net_peer, owned */
static int material_index = -1; /* SSL_CTX -> struct material, owned */
static pthread_once_t indexes_once = PTHREAD_ONCE_INIT;

/* One SNI entry: names and the context with its certificate. */
struct sni_entry {
    char **names; /* lower case */
    size_t n_names;
    SSL_CTX *ctx;
};

/* What belongs to one generation of a server's certificates; lives as long as its default context. */
struct material {
    struct sni_entry *sni;
    size_t n_sni;
    unsigned alpn;
};

struct net_tls_server {
    atomic_uint refs;
    SSL_CTX *ctx;
};

struct net_tls_client {
    atomic_uint refs;
    SSL_CTX *ctx;
    char *server_name;
    bool skip_verify;
    unsigned generation;
};

static void material_free(struct material *m)
{
    if (!m) {
        return;
    }
    for (size_t i = 0; i < m->n_sni; i++) {
        for (size_t k = 0; k < m->sni[i].n_names; k++) {
            free(m->sni[i].names[k]);
        }
        free(m->sni[i].names);
        SSL_CTX_free(m->sni[i].ctx);
    }
    free(m->sni);
    free(m);
}

static void free_peer_data(void *parent UNUSED, void *ptr, CRYPTO_EX_DATA *ad UNUSED, int idx UNUSED, long argl UNUSED,
                           void *argp UNUSED)
{
    struct net_peer *p = ptr;
    if (p) {
        net_ref_put(&p->ref);
    }
}

static void free_material_data(void *parent UNUSED, void *ptr, CRYPTO_EX_DATA *ad UNUSED, int idx UNUSED, long argl UNUSED,
                               void *argp UNUSED)
{
    material_free(ptr);
}

static void make_indexes(void)
{
    peer_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_peer_data);
    material_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_material_data);
    if (peer_index < 0 || material_index < 0) {
        abort();
    }
}

/* The newest OpenSSL reason, and an empty error queue behind it. */
static const char *openssl_reason(void)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return text ? text : "unknown reason";
}

/* ---- peers ---- */

static void peer_release(struct net_ref *r)
{
    struct net_peer *p = CONTAINER_OF(r, struct net_peer, ref);
    for (size_t i = 0; i < p->n_chain; i++) {
        OPENSSL_free((void *)(uintptr_t)p->chain[i].ptr);
    }
    free(p->chain);
    free(p);
}

static int64_t unix_time(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

/* 'chain' leaf first; 'leaf' is used alone when there is no chain. */
static struct net_peer *peer_new(enum net_peer_state state, const char *reason, STACK_OF(X509) *chain, X509 *leaf)
{
    struct net_peer *p = calloc(1, sizeof(*p));
    int n = chain && sk_X509_num(chain) > 0 ? sk_X509_num(chain) : 1;
    n = MIN(n, NET_MAX_CHAIN);
    struct str *der = calloc((size_t)n, sizeof(*der));
    if (!p || !der) {
        abort();
    }
    net_ref_init(&p->ref, peer_release);
    p->state = state;
    p->reason = reason;
    p->chain = der;
    for (int i = 0; i < n; i++) {
        X509 *cert = chain && sk_X509_num(chain) > 0 ? sk_X509_value(chain, i) : leaf;
        unsigned char *bytes = NULL;
        int len = cert ? i2d_X509(cert, &bytes) : 0;
        if (len <= 0) {
            break;
        }
        if (i == 0) {
            p->not_after = unix_time(X509_get0_notAfter(cert));
        }
        der[p->n_chain++] = str_n((const char *)bytes, (size_t)len);
    }
    uint8_t parts[NET_MAX_CHAIN * SHA256_DIGEST_LENGTH];
    for (size_t i = 0; i < p->n_chain; i++) {
        SHA256((const unsigned char *)der[i].ptr, der[i].len, parts + i * SHA256_DIGEST_LENGTH);
    }
    SHA256(parts, p->n_chain * SHA256_DIGEST_LENGTH, p->digest);
    return p;
}

static void set_peer(SSL *ssl, struct net_peer *p)
{
    struct net_peer *old = SSL_get_ex_data(ssl, peer_index);
    if (old) {
        net_ref_put(&old->ref);
    }
    SSL_set_ex_data(ssl, peer_index, p);
}

/* While the clock is not set, "not yet valid" says nothing about a certificate (base/time-floor.h). What it says about the time is
 * learnt once the whole chain is good: net_tls_peer() and verify_client(). */
static int judge(int ok, X509_STORE_CTX *store)
{
    if (!ok && X509_STORE_CTX_get_error(store) == X509_V_ERR_CERT_NOT_YET_VALID && time_floor_clock_is_unset()) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    return ok;
}

/* The moment at which certificates are looked at, when it is another one than the wall clock's. */
static void set_time(SSL *ssl)
{
    if (time_floor_clock_is_unset()) {
        X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl), (time_t)time_floor_now_s());
    }
}

/* A verified certificate began in the past, whatever the clock says. */
static void learn_time(const X509 *leaf)
{
    if (time_floor_clock_is_unset() && leaf) {
        time_floor_raise(unix_time(X509_get0_notBefore(leaf)));
    }
}

/* Takes the place of OpenSSL's verification on a server: keeps the verdict and lets the handshake go on, so that the
 * request can be answered with 401. */
static int verify_client(X509_STORE_CTX *store, void *arg UNUSED)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct net_peer *p;
    if (X509_verify_cert(store) == 1 && X509_STORE_CTX_get_error(store) == X509_V_OK) {
        p = peer_new(NET_PEER_VERIFIED, NULL, X509_STORE_CTX_get0_chain(store), NULL);
        learn_time(X509_STORE_CTX_get0_cert(store));
    } else {
        int e = X509_STORE_CTX_get_error(store);
        p = peer_new(NET_PEER_BAD, X509_verify_cert_error_string(e == X509_V_OK ? X509_V_ERR_UNSPECIFIED : e),
                     X509_STORE_CTX_get0_untrusted(store), X509_STORE_CTX_get0_cert(store));
    }
    ERR_clear_error();
    set_peer(ssl, p);
    return 1;
}

const struct net_peer *net_tls_peer(SSL *ssl)
{
    struct net_peer *p = SSL_get_ex_data(ssl, peer_index);
    if (!p && !SSL_is_server(ssl)) {
        X509 *leaf = SSL_get0_peer_certificate(ssl);
        if (leaf) {
            bool verified = SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE;
            if (verified) {
                learn_time(leaf);
            }
            p = peer_new(verified ? NET_PEER_VERIFIED : NET_PEER_BAD, verified ? NULL : "not verified, as asked for",
                         verified ? SSL_get0_verified_chain(ssl) : SSL_get_peer_cert_chain(ssl), leaf);
            set_peer(ssl, p);
        }
    }
    return p;
}

/* ---- material ---- */

static SSL_CTX *new_context(const SSL_METHOD *method, int min_version)
{
    (void)pthread_once(&indexes_once, make_indexes);
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx) {
        return NULL;
    }
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_max_cert_list(ctx, MAX_CERT_LIST);
    SSL_CTX_set_verify_depth(ctx, NET_MAX_CHAIN);
    /* Every certificate of a CA bundle is an anchor, an intermediate one too: as Go's, which clusters were built with. */
    (void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    char groups[] = "X25519:P-256:P-384", signatures[] = SIGNATURES; /* the macros want them writable */
    if (!SSL_CTX_set_min_proto_version(ctx, min_version) || !SSL_CTX_set_ciphersuites(ctx, CIPHERS_13) ||
        !SSL_CTX_set_cipher_list(ctx, CIPHERS_12) || !SSL_CTX_set1_groups_list(ctx, groups) ||
        !SSL_CTX_set1_sigalgs_list(ctx, signatures)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static BIO *bio_of(struct str pem)
{
    const char *p = pem.ptr ? pem.ptr : "";
    return pem.len <= INT_MAX ? BIO_new_mem_buf(p, (int)pem.len) : NULL;
}

/* The first private key of the text; NULL: there is none, or it is encrypted. */
static EVP_PKEY *read_key(struct str pem)
{
    BIO *bio = bio_of(pem);
    EVP_PKEY *key = NULL;
    char *name, *header;
    unsigned char *der;
    long len;
    bool found = false;
    while (!found && bio && PEM_read_bio(bio, &name, &header, &der, &len) == 1) {
        found = net_tls_key_is_name(name);
        key = found && !header[0] ? net_tls_key_of_der(name, der, len) : NULL;
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)len);
    }
    BIO_free(bio);
    return key;
}

static bool load_identity(SSL_CTX *ctx, const struct net_tls_identity *id, struct err *err)
{
    BIO *bio = bio_of(id->cert_pem);
    X509 *leaf = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL, *more;
    bool ok = leaf && SSL_CTX_use_certificate(ctx, leaf) == 1;
    if (!ok) {
        err_set(err, ERR_INVALID, "cannot use the certificate: %s", openssl_reason());
    }
    while (ok && (more = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        if (SSL_CTX_add0_chain_cert(ctx, more) != 1) {
            X509_free(more);
            ok = err_set(err, ERR_INVALID, "cannot use the certificate's chain: %s", openssl_reason());
        }
    }
    ERR_clear_error(); /* the end of the PEM is one */
    X509_free(leaf);
    BIO_free(bio);
    if (!ok) {
        return false;
    }
    EVP_PKEY *key = read_key(id->key_pem);
    ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
    if (!ok) {
        err_set(err, ERR_INVALID, "cannot use the private key: %s", openssl_reason());
    }
    EVP_PKEY_free(key);
    return ok;
}

/* Trusts the CAs of the bundle; with 'tell_peer' their names are sent to clients, which choose certificates by them. */
static bool load_cas(SSL_CTX *ctx, struct str pem, bool tell_peer, struct err *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    STACK_OF(X509_NAME) *names = tell_peer ? sk_X509_NAME_new_null() : NULL;
    BIO *bio = bio_of(pem);
    X509 *ca;
    size_t n = 0;
    bool ok = true;
    while (ok && bio && (ca = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        ok = X509_STORE_add_cert(store, ca) == 1;
        if (ok && names) {
            X509_NAME *name = X509_NAME_dup(X509_get_subject_name(ca));
            if (!name || !sk_X509_NAME_push(names, name)) {
                X509_NAME_free(name);
                ok = false;
            }
        }
        X509_free(ca);
        n++;
    }
    BIO_free(bio);
    ERR_clear_error();
    if (names) {
        SSL_CTX_set_client_CA_list(ctx, names);
    }
    if (!ok || n == 0) {
        return err_set(err, ERR_INVALID, "the CA bundle holds no usable certificate");
    }
    return true;
}

static char *lower_name(struct str s)
{
    char *copy = malloc(s.len + 1);
    if (!copy) {
        abort();
    }
    for (size_t i = 0; i < s.len; i++) {
        copy[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] + 32) : s.ptr[i];
    }
    copy[s.len] = 0;
    return copy;
}

static void add_name(struct sni_entry *e, struct str name)
{
    char **names = realloc(e->names, (e->n_names + 1) * sizeof(*names));
    if (!names) {
        abort();
    }
    e->names = names;
    names[e->n_names++] = lower_name(name);
}

static void take_names(struct sni_entry *e, const struct net_tls_identity *id)
{
    for (size_t i = 0; i < id->n_names; i++) {
        add_name(e, id->names[i]);
    }
    if (id->n_names > 0) {
        return;
    }
    GENERAL_NAMES *sans = X509_get_ext_d2i(SSL_CTX_get0_certificate(e->ctx), NID_subject_alt_name, NULL, NULL);
    for (int i = 0; sans && i < sk_GENERAL_NAME_num(sans); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(sans, i);
        if (g->type == GEN_DNS) {
            add_name(e, str_n((const char *)ASN1_STRING_get0_data(g->d.dNSName),
                              (size_t)ASN1_STRING_length(g->d.dNSName)));
        }
    }
    GENERAL_NAMES_free(sans);
}

static bool name_matches(const char *pattern, const char *name)
{
    if (strncmp(pattern, "*.", 2) == 0) {
        const char *dot = strchr(name, '.');
        return dot && dot != name && strcmp(dot, pattern + 1) == 0;
    }
    return strcmp(pattern, name) == 0;
}

static int choose_certificate(SSL *ssl, int *alert UNUSED, void *arg)
{
    const struct material *m = arg;
    const char *sent = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!sent || m->n_sni == 0) {
        return SSL_TLSEXT_ERR_OK;
    }
    char *name = lower_name(str_c(sent));
    bool found = false;
    for (size_t i = 0; i < m->n_sni && !found; i++) {
        for (size_t k = 0; k < m->sni[i].n_names && !found; k++) {
            if (name_matches(m->sni[i].names[k], name)) {
                (void)SSL_set_SSL_CTX(ssl, m->sni[i].ctx);
                found = true;
            }
        }
    }
    free(name);
    return SSL_TLSEXT_ERR_OK;
}

static int choose_protocol(SSL *ssl UNUSED, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                           unsigned in_len, void *arg)
{
    const struct material *m = arg;
    static const struct {
        unsigned flag;
        struct str name;
    } ours[] = { { NET_ALPN_H2, STR_INIT("h2") }, { NET_ALPN_H1, STR_INIT("http/1.1") } };
    for (size_t k = 0; k < ARRAY_SIZE(ours); k++) {
        for (unsigned i = 0; (m->alpn & ours[k].flag) && i < in_len && i + 1 + in[i] <= in_len; i += 1U + in[i]) {
            if (str_eq(str_n((const char *)in + i + 1, in[i]), ours[k].name)) {
                *out = in + i + 1;
                *out_len = in[i];
                return SSL_TLSEXT_ERR_OK;
            }
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *server_context(const struct net_tls_server_config *c, const struct net_tls_identity *id, struct err *err)
{
    int min = TLS1_2_VERSION;
    if (c->min_version && strcmp(c->min_version, "VersionTLS13") == 0) {
        min = TLS1_3_VERSION;
    } else if (c->min_version && strcmp(c->min_version, "VersionTLS12") != 0) {
        err_set(err, ERR_INVALID, "TLS version \"%s\" is not served: use VersionTLS12 or VersionTLS13", c->min_version);
        return NULL;
    }
    SSL_CTX *ctx = new_context(TLS_server_method(), min);
    if (!ctx) {
        err_set(err, ERR_INTERNAL, "cannot make a TLS context: %s", openssl_reason());
        return NULL;
    }
    bool ok = load_identity(ctx, id, err);
    if (ok && c->client_ca_pem.len > 0) {
        ok = load_cas(ctx, c->client_ca_pem, true, err);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, judge);
        SSL_CTX_set_cert_verify_callback(ctx, verify_client, NULL);
    }
    if (!ok) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

/* The default context with all the material of one configuration, or NULL. */
static SSL_CTX *build_server(const struct net_tls_server_config *c, struct err *err)
{
    SSL_CTX *ctx = server_context(c, &c->identity, err);
    if (!ctx) {
        return NULL;
    }
    struct material *m = calloc(1, sizeof(*m));
    if (!m) {
        abort();
    }
    m->alpn = c->alpn;
    SSL_CTX_set_ex_data(ctx, material_index, m); /* freed with ctx */
    m->sni = calloc(c->n_sni + 1, sizeof(*m->sni));
    if (!m->sni) {
        abort();
    }
    for (size_t i = 0; i < c->n_sni; i++) {
        struct sni_entry *e = &m->sni[m->n_sni++];
        e->ctx = server_context(c, &c->sni[i], err);
        if (!e->ctx) {
            SSL_CTX_free(ctx);
            return NULL;
        }
        take_names(e, &c->sni[i]);
        if (c->alpn) {
            SSL_CTX_set_alpn_select_cb(e->ctx, choose_protocol, m);
        }
    }
    SSL_CTX_set_tlsext_servername_callback(ctx, choose_certificate);
    SSL_CTX_set_tlsext_servername_arg(ctx, m);
    if (c->alpn) {
        SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, m);
    }
    return ctx;
}

struct net_tls_server *net_tls_server_new(const struct net_tls_server_config *config, struct err *err)
{
    SSL_CTX *ctx = build_server(config, err);
    if (!ctx) {
        return NULL;
    }
    struct net_tls_server *t = calloc(1, sizeof(*t));
    if (!t) {
        abort();
    }
    atomic_init(&t->refs, 1);
    t->ctx = ctx;
    return t;
}

int64_t net_tls_server_not_before(const struct net_tls_server *t)
{
    const X509 *leaf = SSL_CTX_get0_certificate(t->ctx);
    return leaf ? unix_time(X509_get0_notBefore(leaf)) : 0;
}

bool net_tls_server_reload(struct net_tls_server *t, const struct net_tls_server_config *config, struct err *err)
{
    SSL_CTX *ctx = build_server(config, err);
    if (!ctx) {
        return false;
    }
    SSL_CTX_free(t->ctx); /* sessions under way hold their own references */
    t->ctx = ctx;
    return true;
}

struct net_tls_server *net_tls_server_ref(struct net_tls_server *t)
{
    if (t) {
        atomic_fetch_add(&t->refs, 1);
    }
    return t;
}

struct net_tls_server *net_tls_server_unref(struct net_tls_server *t)
{
    if (t && atomic_fetch_sub(&t->refs, 1) == 1) {
        SSL_CTX_free(t->ctx);
        free(t);
    }
    return NULL;
}

const SSL_CTX *net_tls_server_context(const struct net_tls_server *t)
{
    return t->ctx;
}

/* ---- clients ---- */

/* The wire form of a set of enum net_alpn. */
static const unsigned char *alpn_list(unsigned alpn, unsigned *ret_len)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    const unsigned char *list = (alpn & NET_ALPN_H2) ? both : both + 3;
    *ret_len = alpn == 0 ? 0 : (alpn & NET_ALPN_H1) ? (unsigned)(both + 12 - list) : 3;
    return list;
}

void net_tls_offer_alpn(SSL *ssl, unsigned alpn)
{
    unsigned len;
    const unsigned char *list = alpn_list(alpn, &len);
    (void)!SSL_set_alpn_protos(ssl, list, len);
}

static SSL_CTX *build_client(const struct net_tls_client_config *c, struct err *err)
{
    SSL_CTX *ctx = new_context(TLS_client_method(), TLS1_2_VERSION);
    if (!ctx) {
        err_set(err, ERR_INTERNAL, "cannot make a TLS context: %s", openssl_reason());
        return NULL;
    }
    bool ok = true;
    if (c->ca_pem.len > 0) {
        ok = load_cas(ctx, c->ca_pem, false, err);
    } else if (!c->insecure_skip_verify) {
        (void)SSL_CTX_set_default_verify_paths(ctx);
    }
    if (ok && c->identity.cert_pem.len > 0) {
        ok = load_identity(ctx, &c->identity, err);
    }
    SSL_CTX_set_verify(ctx, c->insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, c->insecure_skip_verify ? NULL : judge);
    unsigned len;
    const unsigned char *list = alpn_list(c->alpn, &len);
    ok = ok && SSL_CTX_set_alpn_protos(ctx, list, len) == 0;
    if (!ok) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static void install_client(struct net_tls_client *t, const struct net_tls_client_config *c, SSL_CTX *ctx)
{
    SSL_CTX_free(t->ctx);
    free(t->server_name);
    t->ctx = ctx;
    t->server_name = c->server_name.len > 0 ? lower_name(c->server_name) : NULL;
    t->skip_verify = c->insecure_skip_verify;
    t->generation++;
}

struct net_tls_client *net_tls_client_new(const struct net_tls_client_config *config, struct err *err)
{
    SSL_CTX *ctx = build_client(config, err);
    if (!ctx) {
        return NULL;
    }
    struct net_tls_client *t = calloc(1, sizeof(*t));
    if (!t) {
        abort();
    }
    atomic_init(&t->refs, 1);
    install_client(t, config, ctx);
    return t;
}

bool net_tls_client_reload(struct net_tls_client *t, const struct net_tls_client_config *config, struct err *err)
{
    SSL_CTX *ctx = build_client(config, err);
    if (!ctx) {
        return false;
    }
    install_client(t, config, ctx);
    return true;
}

struct net_tls_client *net_tls_client_ref(struct net_tls_client *t)
{
    if (t) {
        atomic_fetch_add(&t->refs, 1);
    }
    return t;
}

struct net_tls_client *net_tls_client_unref(struct net_tls_client *t)
{
    if (t && atomic_fetch_sub(&t->refs, 1) == 1) {
        SSL_CTX_free(t->ctx);
        free(t->server_name);
        free(t);
    }
    return NULL;
}

unsigned net_tls_client_generation(const struct net_tls_client *t)
{
    return t->generation;
}

/* ---- sessions ---- */

SSL *net_tls_server_session(struct net_tls_server *t)
{
    SSL *ssl = SSL_new(t->ctx);
    if (ssl) {
        SSL_set_accept_state(ssl);
        set_time(ssl);
    }
    return ssl;
}

SSL *net_tls_client_session(struct net_tls_client *t, struct str host)
{
    SSL *ssl = SSL_new(t->ctx);
    if (!ssl) {
        return NULL;
    }
    SSL_set_connect_state(ssl);
    set_time(ssl);
    struct net_addr addr;
    char *name = t->server_name ? lower_name(str_c(t->server_name)) : lower_name(host);
    size_t len = strlen(name);
    if (len > 1 && name[len - 1] == '.') { /* a name's final dot is not part of certificates */
        name[len - 1] = 0;
    }
    bool is_ip = net_addr_parse_ip(str_c(name), 0, &addr), ok = true;
    if (!is_ip && *name) {
        ok = SSL_set_tlsext_host_name(ssl, name) == 1;
    }
    if (ok && !t->skip_verify) {
        X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
        X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
        if (is_ip) {
            char ip[NET_ADDR_TEXT_SIZE];
            (void)net_addr_ip_text(&addr, ip);
            ok = X509_VERIFY_PARAM_set1_ip_asc(param, ip) == 1;
        } else {
            /* Without a name nothing could be verified, and an empty name would switch the check off. */
            ok = *name && X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
        }
    }
    free(name);
    if (!ok) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

enum net_alpn net_tls_alpn(const SSL *ssl)
{
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(ssl, &name, &len);
    struct str s = str_n((const char *)name, len);
    return str_eq(s, STR("h2")) ? NET_ALPN_H2 : str_eq(s, STR("http/1.1")) ? NET_ALPN_H1 : (enum net_alpn)0;
}

void net_tls_reason(SSL *ssl, char *dst, size_t size)
{
    long verdict = SSL_is_server(ssl) ? X509_V_OK : SSL_get_verify_result(ssl);
    unsigned long e = ERR_peek_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    if (verdict != X509_V_OK) {
        (void)snprintf(dst, size, "the server's certificate is refused: %s%s", X509_verify_cert_error_string(verdict),
                       time_floor_clock_is_unset() ? " (the clock is not set)" : "");
    } else {
        (void)snprintf(dst, size, "TLS: %s", text ? text : "the connection broke");
    }
    ERR_clear_error();
}
