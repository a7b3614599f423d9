#include "kubelet/certificate-manager.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/gen/certificates_v1.h"
#include "api/type.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/time-floor.h"
#include "client/informer.h"
#include "pki/csr.h"

#define BACKOFF_MIN_MS 2000
#define BACKOFF_MAX_MS 300000
/* How long an answer is waited for, as the original does. */
#define ANSWER_MS (15 * 60000)
/* How often the wall clock and the names are looked at again. */
#define LOOK_MS 60000
/* The same while names are not known yet or nobody can ask. */
#define LOOK_SOON_MS 1000
#define WORK_ARENA (1u << 20)
/* The name that a first request gets from its key: a kubelet that starts again finds its own request. */
#define NAME_SIZE 80

enum outcome { WAITING, GRANTED, REFUSED, LOST };

struct cert_manager {
    struct cert_manager_config config;
    struct cert_pair current;
    int64_t due_s;
    unsigned failures;
    bool started, waits_for_names;
    struct loop_timer timer;
    struct metric_cell *errors, *ttl;

    /* A request under way. */
    bool asking;
    struct arena asked_arena;
    struct pki_names asked; /* what the request under way says */
    struct pki_key *key;
    struct client_call *create;
    struct informers *informers;
    char name[NAME_SIZE + 256];
    bool name_is_ours; /* of our key's file */
    struct loop_timer patience;
    struct loop_task answered;
    enum outcome outcome;
    struct buf certificate;
    char reason[1200];
};

int64_t cert_manager_due(int64_t begin, int64_t end, double random)
{
    double life = (double)(end - begin);
    return begin + (int64_t)(life * (0.7 + 0.2 * random) + 0.5);
}

uint64_t cert_manager_backoff_ms(unsigned failures, double random)
{
    uint64_t ms = BACKOFF_MIN_MS;
    for (unsigned i = 1; i < failures && ms < BACKOFF_MAX_MS; i++) {
        ms *= 2;
    }
    return (uint64_t)((double)MIN(ms, (uint64_t)BACKOFF_MAX_MS) * (0.5 + random));
}

static double random_part(void)
{
    return (double)rand_below(1u << 30) / (double)(1u << 30);
}

const struct cert_pair *cert_manager_current(const struct cert_manager *m)
{
    return m->current.leaf ? &m->current : NULL;
}

bool cert_manager_is_valid(const struct cert_manager *m)
{
    return m->current.leaf && time_floor_now_s() < pki_cert_not_after(m->current.leaf);
}

/* ---- the key of a first request ---- */

static void key_path(const struct cert_manager *m, char dst[PATH_MAX])
{
    snprintf(dst, PATH_MAX, "%s/%s.key.tmp", m->config.store.dir, m->config.store.prefix);
}

static void forget_key(struct cert_manager *m)
{
    char path[PATH_MAX];
    key_path(m, path);
    (void)unlink(path);
}

/* Without a certificate the key is kept on disk while the request waits, perhaps for a person who approves it: a kubelet that was
 * started again meanwhile goes on waiting for the same request. */
static struct pki_key *first_key(struct cert_manager *m, struct err *err)
{
    char path[PATH_MAX];
    struct buf b;
    key_path(m, path);
    struct pki_key *key = pki_key_load_private(path, NULL);
    if (key) {
        return key;
    }
    key = fs_mkdirs(m->config.store.dir, 0700, err) ? pki_key_generate(PKI_KEY_P256, 0, err) : NULL;
    buf_init(&b, CERT_PAIR_MAX);
    if (key && !(pki_key_write_private(key, &b) && fs_write_atomic(path, buf_str(&b), 0600, err))) {
        key = pki_key_unref(key);
    }
    if (b.ptr) {
        explicit_bzero(b.ptr, b.len);
    }
    buf_deinit(&b);
    return key;
}

static void name_of_key(const struct pki_key *key, char dst[NAME_SIZE])
{
    char pin[PKI_PIN_SIZE];
    pki_key_pin(key, pin); /* "sha256:<hex>" */
    snprintf(dst, NAME_SIZE, "node-csr-%.43s", pin + 7);
}

/* ---- is there anything to do? ---- */

static bool has(const struct str *list, size_t n, struct str one)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i], one)) {
            return true;
        }
    }
    return false;
}

static bool has_all(const struct str *have, size_t n_have, const struct str *want, size_t n_want)
{
    for (size_t i = 0; i < n_want; i++) {
        if (!has(have, n_have, want[i])) {
            return false;
        }
    }
    return true;
}

static bool says_all(const struct pki_names *have, const struct pki_names *want)
{
    return str_eq(have->cn, want->cn) && has_all(have->orgs, have->n_orgs, want->orgs, want->n_orgs) &&
           has_all(have->dns, have->n_dns, want->dns, want->n_dns) && has_all(have->ips, have->n_ips, want->ips, want->n_ips);
}

/* Does the certificate say everything that it should? */
static bool says(const struct pki_cert *cert, struct arena *a, const struct pki_names *want)
{
    struct pki_cert_info info;
    struct err err;
    if (!pki_cert_inspect(cert, a, &info, &err)) {
        return false;
    }
    return says_all(&info.names, want);
}

/* 'begin' is when it was given to us rather than the date in it, which is five minutes earlier: for certificates of minutes. */
static void choose_due(struct cert_manager *m, int64_t begin)
{
    char text[CLOCK_RFC3339_SIZE], end[CLOCK_RFC3339_SIZE];
    if (!m->current.leaf) {
        m->due_s = 0;
        return;
    }
    int64_t not_after = pki_cert_not_after(m->current.leaf);
    m->due_s = cert_manager_due(MIN(begin, not_after), not_after, random_part());
    clock_format_rfc3339(m->due_s, 0, 0, text);
    clock_format_rfc3339(not_after, 0, 0, end);
    if (m->config.rotate) {
        log_info("the %s is good until %s and is renewed at %s", m->config.what, end, text);
    } else {
        log_info("the %s is good until %s", m->config.what, end);
    }
}

/* ---- a request ---- */

static void end_request(struct cert_manager *m)
{
    m->asking = false;
    m->outcome = WAITING;
    client_cancel(m->create);
    m->create = NULL;
    informers_free(m->informers);
    m->informers = NULL;
    m->key = pki_key_unref(m->key);
    loop_timer_stop(&m->patience);
    loop_task_cancel(&m->answered);
    buf_clear(&m->certificate);
}

static void failed(struct cert_manager *m, const char *why)
{
    m->failures++;
    uint64_t ms = cert_manager_backoff_ms(m->failures, random_part());
    metric_add(m->errors, 1);
    log_warning("no new %s: %s; the next request goes out in %llu s", m->config.what, why, (unsigned long long)(ms + 999) / 1000);
    end_request(m);
    loop_timer_start(&m->timer, ms);
}

static void accept_certificate(struct cert_manager *m)
{
    struct buf key;
    struct err err = { 0 };
    buf_init(&key, CERT_PAIR_MAX);
    struct pki_cert *before = m->current.leaf ? pki_cert_ref(m->current.leaf) : NULL;
    bool ok = (pki_key_write_private(m->key, &key) || err_set(&err, ERR_INTERNAL, "the key cannot be written")) &&
              cert_pair_set(&m->current, buf_str(&m->certificate), buf_str(&key), &err);
    if (key.ptr) {
        explicit_bzero(key.ptr, key.len);
    }
    buf_deinit(&key);
    if (!ok) {
        pki_cert_unref(before);
        forget_key(m);
        failed(m, err.msg);
        return;
    }
    /* Signed in the past, whatever the clock says. */
    time_floor_raise(pki_cert_not_before(m->current.leaf));
    if (!cert_store_write(&m->config.store, &m->current, time_floor_now_s(), &err)) {
        log_error("the new %s is in use, but cannot be stored: %s", m->config.what, err.msg);
    } else {
        forget_key(m);
    }
    if (before && m->config.life) {
        metric_observe(metric_cell(m->config.life, STR_EMPTY), (double)(time_floor_now_s() - pki_cert_not_before(before)));
    }
    pki_cert_unref(before);
    m->failures = 0;
    end_request(m);
    choose_due(m, MAX(pki_cert_not_before(m->current.leaf), time_floor_now_s()));
    m->config.changed(m->config.arg);
    loop_timer_start(&m->timer, 0);
}

static void on_answered(void *arg)
{
    struct cert_manager *m = arg;
    switch (m->outcome) {
    case GRANTED: accept_certificate(m); break;
    case REFUSED:
        forget_key(m); /* another key is another request */
        failed(m, m->reason);
        break;
    case LOST: failed(m, m->reason); break;
    case WAITING: break;
    }
}

static void settle(struct cert_manager *m, enum outcome outcome, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void settle(struct cert_manager *m, enum outcome outcome, const char *fmt, ...)
{
    va_list ap;
    if (m->outcome != WAITING) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(m->reason, sizeof(m->reason), fmt, ap);
    va_end(ap);
    m->outcome = outcome;
    loop_task_defer(&m->answered);
}

/* What the request says by now. Called inside the informer, which must live on: what follows is a task of its own. */
static void on_request(void *data, const void *old UNUSED, const void *obj)
{
    struct cert_manager *m = data;
    const struct certificates_v1_certificate_signing_request *r = obj;
    bool approved = false;
    if (!r) {
        settle(m, LOST, "the request %s was deleted", m->name);
        return;
    }
    for (size_t i = 0; i < r->status.n_conditions; i++) {
        const struct certificates_v1_certificate_signing_request_condition *c = &r->status.conditions[i];
        if (str_eq_c(c->type, "Denied") || str_eq_c(c->type, "Failed")) {
            settle(m, REFUSED, "the request %s was %s: %.*s: %.*s", m->name, str_eq_c(c->type, "Denied") ? "denied" : "not signed",
                   STR_ARG(c->reason), STR_ARG(c->message));
            return;
        }
        approved = approved || str_eq_c(c->type, "Approved");
    }
    if (approved && r->status.certificate.len && m->outcome == WAITING) {
        buf_clear(&m->certificate);
        buf_append(&m->certificate, r->status.certificate);
        if (buf_failed(&m->certificate)) {
            settle(m, REFUSED, "the answer is too large");
        } else {
            settle(m, GRANTED, "granted");
        }
    }
}

static void on_patience(void *arg)
{
    struct cert_manager *m = arg;
    settle(m, LOST, "the request %s was not answered in %d minutes", m->name, ANSWER_MS / 60000);
}

static void watch_request(struct cert_manager *m, struct client *client)
{
    static const char *const fields[] = { "status", NULL };
    char selector[sizeof(m->name) + 32];
    snprintf(selector, sizeof(selector), "metadata.name=%s", m->name);
    const struct informer_spec spec = {
        .resource = api_resource_find(STR("certificates.k8s.io"), STR("v1"), STR("certificatesigningrequests")),
        .field_selector = str_c(selector), .fields = fields };
    m->informers = informers_new(client);
    (void)informers_get(m->informers, &spec, on_request, m);
    informers_start(m->informers, NULL, NULL);
    loop_timer_start(&m->patience, ANSWER_MS);
}

static void on_created(void *data, const struct client_answer *answer)
{
    struct cert_manager *m = data;
    m->create = NULL;
    if (answer->err && !(m->name_is_ours && answer->err->code == ERR_ALREADY_EXISTS)) {
        snprintf(m->reason, sizeof(m->reason), "%s", answer->err->msg);
        failed(m, m->reason);
        return;
    }
    if (!answer->err) {
        const struct certificates_v1_certificate_signing_request *r = answer->object;
        snprintf(m->name, sizeof(m->name), "%.*s", r ? (int)r->metadata.name.len : 0, r ? r->metadata.name.ptr : "");
    }
    if (!m->name[0]) {
        failed(m, "the apiserver's answer has no name");
        return;
    }
    struct client *client = m->config.client(m->config.arg, cert_manager_is_valid(m));
    if (!client) {
        failed(m, "nobody can ask any more");
        return;
    }
    log_info("a %s is asked for by the request %s", m->config.what, m->name);
    watch_request(m, client);
}

static bool ask(struct cert_manager *m, struct client *client, struct arena *a, const struct pki_names *names, struct err *err)
{
    struct buf csr;
    m->name_is_ours = !cert_manager_is_valid(m);
    m->key = m->name_is_ours ? first_key(m, err) : pki_key_generate(PKI_KEY_P256, 0, err);
    if (!m->key) {
        return false;
    }
    buf_init(&csr, 65536);
    if (!pki_csr_write(m->key, names, &csr, err)) {
        buf_deinit(&csr);
        return false;
    }
    struct certificates_v1_certificate_signing_request r = { .kind = STR("CertificateSigningRequest"),
                                                             .api_version = STR("certificates.k8s.io/v1") };
    struct str usages[] = { STR("digital signature"),
                            m->config.usage == PKI_USAGE_CLIENT_AUTH ? STR("client auth") : STR("server auth") };
    m->name[0] = '\0';
    if (m->name_is_ours) {
        name_of_key(m->key, m->name);
        r.metadata.name = str_c(m->name);
    } else {
        r.metadata.generate_name = STR("csr-");
    }
    r.spec.request = arena_str(a, buf_str(&csr));
    r.spec.signer_name = str_c(m->config.signer);
    r.spec.usages = usages;
    r.spec.n_usages = ARRAY_SIZE(usages);
    buf_deinit(&csr);
    const struct client_target t = {
        .resource = api_resource_find(STR("certificates.k8s.io"), STR("v1"), STR("certificatesigningrequests")) };
    m->asking = true;
    arena_deinit(&m->asked_arena);
    arena_init(&m->asked_arena, WORK_ARENA);
    m->asked = (struct pki_names){ 0 };
    (void)m->config.names(m->config.arg, &m->asked_arena, &m->asked);
    m->create = client_create(client, &t, NULL, &r, on_created, m);
    return true;
}

/* ---- the machine ---- */

static void step(void *arg)
{
    struct cert_manager *m = arg;
    struct arena a;
    struct pki_names names = { 0 };
    struct err err = { 0 };
    if (m->asking) {
        return;
    }
    arena_init(&a, WORK_ARENA);
    bool known = m->config.names(m->config.arg, &a, &names);
    bool valid = cert_manager_is_valid(m);
    int64_t now = time_floor_now_s();
    bool due = !valid || (m->config.rotate && now >= m->due_s);
    if (known && valid && !due && m->config.rotate && !says(m->current.leaf, &a, &names)) {
        log_info("the %s does not say what it should any more, and is renewed", m->config.what);
        due = true;
    }
    struct client *client = due && known ? m->config.client(m->config.arg, valid) : NULL;
    if (!due) {
        int64_t left_ms = m->config.rotate ? (m->due_s - now) * 1000 : LOOK_MS;
        loop_timer_start(&m->timer, (uint64_t)MAX(MIN(left_ms, (int64_t)LOOK_MS), (int64_t)50));
    } else if (!client) {
        loop_timer_start(&m->timer, LOOK_SOON_MS);
    } else if (!ask(m, client, &a, &names, &err)) {
        failed(m, err.msg);
    }
    arena_deinit(&a);
}

void cert_manager_metrics(struct cert_manager *m)
{
    if (m && m->current.leaf) {
        metric_set(m->ttl, (double)(pki_cert_not_after(m->current.leaf) - time_floor_now_s()));
    }
}

struct cert_manager *cert_manager_new(const struct cert_manager_config *config)
{
    struct cert_manager *m = calloc(1, sizeof(*m));
    struct err err = { 0 };
    if (!m) {
        abort();
    }
    m->config = *config;
    cert_pair_init(&m->current);
    buf_init(&m->certificate, CERT_PAIR_MAX);
    arena_init(&m->asked_arena, WORK_ARENA);
    loop_timer_init(&m->timer, config->loop, step, m);
    loop_timer_init(&m->patience, config->loop, on_patience, m);
    loop_task_init(&m->answered, config->loop, on_answered, m);
    m->errors = metric_cell(config->errors, STR_EMPTY);
    m->ttl = metric_cell(config->ttl, STR_EMPTY);
    if (!cert_store_read(&config->store, &m->current, &err) && err.code != ERR_NOT_FOUND) {
        log_warning("the stored %s is of no use: %s", config->what, err.msg);
    }
    if (m->current.leaf) {
        time_floor_raise(pki_cert_not_before(m->current.leaf));
    }
    return m;
}

void cert_manager_adopt(struct cert_manager *m, struct str cert_pem, struct str key_pem)
{
    struct cert_pair p;
    struct err err = { 0 };
    cert_pair_init(&p);
    if (cert_pair_set(&p, cert_pem, key_pem, &err) &&
        (!m->current.leaf || pki_cert_not_after(m->current.leaf) < pki_cert_not_after(p.leaf))) {
        struct cert_pair old = m->current;
        m->current = p;
        p = old;
    }
    cert_pair_deinit(&p);
}

void cert_manager_drop(struct cert_manager *m)
{
    cert_pair_deinit(&m->current);
    cert_pair_init(&m->current);
}

void cert_manager_start(struct cert_manager *m)
{
    m->started = true;
    choose_due(m, m->current.leaf ? pki_cert_not_before(m->current.leaf) : 0);
    loop_timer_start(&m->timer, 0);
}

void cert_manager_wake(struct cert_manager *m)
{
    if (m->started && m->asking && m->outcome == WAITING) {
        struct arena a;
        struct pki_names now = { 0 };
        arena_init(&a, WORK_ARENA);
        if (m->config.names(m->config.arg, &a, &now) && !says_all(&m->asked, &now)) {
            log_info("the request %s does not ask for what the %s should say any more: another one follows", m->name, m->config.what);
            forget_key(m);
            end_request(m);
        }
        arena_deinit(&a);
    }
    if (m->started && !m->asking && m->failures == 0) {
        loop_timer_start(&m->timer, 0);
    }
}

struct cert_manager *cert_manager_free(struct cert_manager *m)
{
    if (m) {
        end_request(m);
        loop_timer_stop(&m->timer);
        cert_pair_deinit(&m->current);
        buf_deinit(&m->certificate);
        arena_deinit(&m->asked_arena);
        free(m);
    }
    return NULL;
}
