/* What the apiserver's connections are for: told to the registry of net/ (net/path.h). */
#include "apiserver/paths.h"
#include "apiserver/request.h"
#include "client/path-report.h"

/* Kinds of clients times ways to be known. More: the connection stays with its listener. */
enum { MAX_LABELS = 64 };

struct path_labels {
    struct {
        const char *kind;
        char how[40];
        struct net_path *path;
    } items[MAX_LABELS];
    size_t n;
    char authz[256];
};

struct path_labels *path_labels_free(struct path_labels *l)
{
    if (l) {
        for (size_t i = 0; i < l->n; i++) {
            net_path_unref(l->items[i].path);
        }
        free(l);
    }
    return NULL;
}

static struct path_labels *labels_of(struct apiserver *s)
{
    if (!s->path_labels) {
        struct path_labels *l = calloc(1, sizeof(*l));
        size_t n = 0;
        if (!l) {
            abort();
        }
        for (size_t i = 0; i < s->cfg.authorization_modes.n; i++) {
            int len = snprintf(l->authz + n, sizeof(l->authz) - n, "%s%.*s", i ? "," : "", STR_ARG(s->cfg.authorization_modes.items[i]));
            n += len > 0 && (size_t)len < sizeof(l->authz) - n ? (size_t)len : 0;
        }
        s->path_labels = l;
    }
    return s->path_labels;
}

struct str paths_authz_words(struct apiserver *s)
{
    return str_c(labels_of(s)->authz);
}

/* A controller of ours, by its service account. */
static bool is_controller(struct str name)
{
    static const char *const others[] = { "generic-garbage-collector", "node-controller", "pod-garbage-collector", "resourcequota-controller",
                                          "root-ca-cert-publisher", "service-account-controller" };
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        if (str_eq_c(name, others[i])) {
            return true;
        }
    }
    return str_ends(name, STR("-controller"));
}

/* In the words of paths-kinds.c. */
static const char *kind_of(const struct auth_user *u)
{
    static const struct {
        struct str name;
        const char *kind;
    } names[] = {
        { STR_INIT("system:anonymous"), "anonymous" },
        { STR_INIT("system:unsecured"), "insecure" },
        { STR_INIT("system:kube-proxy"), "kube-proxy" },
        { STR_INIT("system:kube-scheduler"), "kube-scheduler" },
        { STR_INIT("system:kube-controller-manager"), "kube-controller-manager" },
        { STR_INIT("system:cloud-controller-manager"), "cloud-controller-manager" },
        { STR_INIT("system:apiserver"), "kube-apiserver" },
    };
    struct str system = STR("system:serviceaccount:kube-system:");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (str_eq(u->name, names[i].name)) {
            return names[i].kind;
        }
    }
    if (str_starts(u->name, STR("system:node:"))) {
        return "kubelet";
    }
    if (str_starts(u->name, STR("system:bootstrap:"))) {
        return "bootstrap tokens";
    }
    if (str_starts(u->name, system)) {
        struct str name = str_sub(u->name, system.len, u->name.len);
        return is_controller(name) ? "kube-controller-manager" : str_eq_c(name, "kube-proxy") ? "kube-proxy" : "pods";
    }
    if (str_starts(u->name, STR("system:serviceaccount:"))) {
        return "pods";
    }
    return str_starts(u->name, STR("system:coracle:tunnel")) ? "tunnel" : "users";
}

static struct net_path *label_of(struct apiserver *s, const char *kind, struct str how)
{
    struct path_labels *l = labels_of(s);
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->items[i].kind, kind) == 0 && str_eq_c(how, l->items[i].how)) {
            return l->items[i].path;
        }
    }
    char purpose[64];
    if (l->n == MAX_LABELS || how.len >= sizeof(l->items[0].how)) {
        return NULL;
    }
    (void)snprintf(purpose, sizeof(purpose), PATH_PURPOSE_API ":%.*s", STR_ARG(how));
    struct net_path_spec spec = { .peer = str_c(kind), .purpose = str_c(purpose), .authz = l->authz };
    l->items[l->n].kind = kind;
    (void)snprintf(l->items[l->n].how, sizeof(l->items[0].how), "%.*s", STR_ARG(how));
    l->items[l->n].path = net_path_get(s->loop, &spec);
    return l->items[l->n++].path;
}

void paths_label_request(struct request *r)
{
    bool anonymous = str_eq_c(r->authn.authenticator, "anonymous");
    unsigned rank = anonymous ? 1 : 2;
    if (http_stream_wants_path(r->http, rank)) {
        struct net_path *path = label_of(r->srv, kind_of(&r->real_user), r->authn.authenticator);
        if (path) {
            http_stream_set_path(r->http, path, rank);
        }
    }
}
