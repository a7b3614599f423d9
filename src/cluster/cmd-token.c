/* coracle token create|list|delete */
#include "cluster/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/decode-json.h"
#include "api/gen/core_v1.h"
#include "api/json-writer.h"
#include "api/yaml.h"
#include "base/clock.h"
#include "base/flags.h"
#include "cluster/host.h"
#include "cluster/prepare.h"
#include "cluster/token-input.h"
#include "cluster/token.h"
#include "cluster/user-config.h"

#define SECRETS "/api/v1/namespaces/kube-system/secrets"
enum { MAX_TOKENS = 4096, MAX_OUTPUT = 8 << 20 };

struct token_options {
    struct str name, kubeconfig, context, output, description, given, token_file, server;
    struct flag_strings usages, groups;
    int64_t ttl_ms;
    bool print_join;
};

static const struct flag where_flags[] = {
    FLAG_STRING(struct token_options, name, "name", "", "The cluster that coracle up made by this name."),
    FLAG_STRING(struct token_options, kubeconfig, "kubeconfig", "",
                "A kubeconfig of an administrator; empty takes $KUBECONFIG, " HOST_ADMIN_CONF " or ~/.kube/config."),
    FLAG_STRING(struct token_options, context, "context", "",
                "The context of the kubeconfig; empty takes the current one."),
    FLAG_STRING(struct token_options, output, "output", "", "json, yaml or name; empty prints text.", .letter = 'o'),
};
static const struct flag create_flags[] = {
    FLAG_DURATION(struct token_options, ttl_ms, "ttl", "24h", "How long the token is good; 0: for ever."),
    FLAG_STRING(struct token_options, description, "description", "", "What it is for."),
    FLAG_STRINGS(struct token_options, usages, "usages", "authentication,signing",
                 "What it may do: authentication (get in), signing (vouch for cluster-info)."),
    FLAG_STRINGS(struct token_options, groups, "groups", HOST_TOKEN_GROUP,
                 "Groups of who gets in by it, system:bootstrappers:… each."),
    FLAG_BOOL(struct token_options, print_join, "print-join-command", "false",
              "Prints the whole command by which a host joins."),
    FLAG_STRING(struct token_options, server, "server", "",
                "With --print-join-command: the server's address instead of the kubeconfig's."),
    FLAG_STRING(struct token_options, given, "token", "",
                "This token instead of a random one; - reads it from standard input."),
    FLAG_STRING(struct token_options, token_file, "token-file", "", "The same from a file."),
};

static bool find_cluster(const struct token_options *o, struct arena *a, struct client_config *config, struct err *err)
{
    struct cluster_config c;
    char path[PATH_MAX];
    if (!str_empty(o->name)) {
        return place_init(&c.place, o->name, err) && cluster_config_load(&c, err) &&
               prepare_admin_config(&c, a, config, err);
    }
    if (str_empty(o->kubeconfig) && str_empty(o->context) && !getenv("KUBECONFIG") &&
        access(HOST_ADMIN_CONF, R_OK) == 0) {
        return kubeconfig_read(a, HOST_ADMIN_CONF, STR_NULL, config, err);
    }
    return user_config_path(o->kubeconfig, path, err) &&
           kubeconfig_read(a, path, str_empty(o->context) ? STR_NULL : o->context, config, err);
}

/* ---- output ---- */

static void write_expires(const struct bootstrap_token *t, struct buf *b)
{
    char when[CLOCK_RFC3339_SIZE];
    if (t->has_expiration && t->expiration != BOOTSTRAP_TOKEN_LONG_PAST) {
        buf_append(b, str_n(when, clock_format_rfc3339(t->expiration, 0, 0, when)));
    }
}

static void write_json(const struct bootstrap_token *t, struct buf *b)
{
    CLEANUP(buf_deinit) struct buf expires;
    buf_init(&expires, 64);
    write_expires(t, &expires);
    buf_printf(b, "{\"kind\":\"BootstrapToken\",\"token\":\"%.*s.%.*s\",\"description\":", STR_ARG(t->id),
               STR_ARG(t->secret));
    json_write_string(b, t->description);
    if (expires.len) {
        buf_printf(b, ",\"expires\":\"%.*s\"", STR_ARG(buf_str(&expires)));
    }
    buf_printf(b, ",\"expired\":%s,\"usages\":[%s%s%s],\"groups\":[",
               bootstrap_token_expired(t, clock_real_s()) ? "true" : "false",
               t->authentication ? "\"authentication\"" : "", t->authentication && t->signing ? "," : "",
               t->signing ? "\"signing\"" : "");
    for (size_t i = 0; i < t->n_groups; i++) {
        buf_append_c(b, i ? "," : "");
        json_write_string(b, t->groups[i]);
    }
    buf_append_c(b, "]}");
}

static void write_left(const struct bootstrap_token *t, char dst[32])
{
    int64_t left = t->expiration - clock_real_s();
    if (!t->has_expiration) {
        (void)snprintf(dst, 32, "forever");
    } else if (t->expiration == BOOTSTRAP_TOKEN_LONG_PAST || left <= 0) {
        (void)snprintf(dst, 32, "expired");
    } else if (left < 3600) {
        (void)snprintf(dst, 32, "%dm%ds", (int)(left / 60), (int)(left % 60));
    } else {
        (void)snprintf(dst, 32, "%lldh%dm", (long long)(left / 3600), (int)(left / 60 % 60));
    }
}

static bool print(const struct token_options *o, struct buf *json, struct err *err)
{
    struct arena a;
    struct val v;
    bool ok = true;
    if (str_eq_c(o->output, "json")) {
        printf("%.*s\n", STR_ARG(buf_str(json)));
        return true;
    }
    struct buf b;
    buf_init(&b, MAX_OUTPUT);
    arena_init(&a, 64u << 20);
    ok = val_parse_json(&a, buf_str(json), JSON_DEPTH, NULL, &v, err);
    if (ok) {
        yaml_write(&b, &v);
        printf("%.*s", STR_ARG(buf_str(&b)));
    }
    arena_deinit(&a);
    buf_deinit(&b);
    return ok;
}

/* ---- commands ---- */

static bool usages(const struct token_options *o, struct token_spec *spec, struct err *err)
{
    for (size_t i = 0; i < o->usages.n; i++) {
        if (str_eq_c(o->usages.items[i], "authentication")) {
            spec->authentication = true;
        } else if (str_eq_c(o->usages.items[i], "signing")) {
            spec->signing = true;
        } else {
            return err_set(err, ERR_INVALID, "--usages takes authentication and signing, not \"%.*s\"",
                           STR_ARG(o->usages.items[i]));
        }
    }
    for (size_t i = 0; i < o->groups.n; i++) {
        if (!bootstrap_token_is_group(o->groups.items[i])) {
            return err_set(err, ERR_INVALID,
                           "--groups takes system:bootstrappers:… of a-z, 0-9, ':' and '-', not \"%.*s\"",
                           STR_ARG(o->groups.items[i]));
        }
    }
    return (o->ttl_ms >= 0 && (o->ttl_ms == 0 || o->ttl_ms >= 1000)) ||
           err_set(err, ERR_INVALID, "--ttl takes at least 1s, or 0");
}

static bool create(const struct token_options *o, struct session *s, struct client_config *c, struct err *err)
{
    char token[BOOTSTRAP_TOKEN_SIZE];
    struct token_spec spec = { .token = token,
                               .description = o->description,
                               .ttl_ms = o->ttl_ms,
                               .groups = o->groups.items,
                               .n_groups = o->groups.n };
    bool given = !str_empty(o->given) || !str_empty(o->token_file);
    if (!usages(o, &spec, err) || (given && !token_input(o->given, o->token_file, token, err))) {
        return false;
    }
    if (o->print_join && (!spec.authentication || !spec.signing)) {
        return err_set(err, ERR_INVALID, "a token to join by needs both usages");
    }
    if (!given) {
        bootstrap_token_make(token);
    }
    if (!token_create(s, &spec, err)) {
        return false;
    }
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 65536);
    if (!str_empty(o->server)) {
        c->server = o->server;
    }
    if (o->print_join) {
        if (!token_join_command(c, token, &b, err)) {
            return false;
        }
        printf("%.*s\n", STR_ARG(buf_str(&b)));
    } else if (str_eq_c(o->output, "name")) {
        printf("%.*s\n", BOOTSTRAP_TOKEN_ID_LEN, token);
    } else if (str_empty(o->output)) {
        printf("%s\n", token);
    } else {
        struct bootstrap_token t = { .description = spec.description,
                                     .has_expiration = spec.ttl_ms != 0,
                                     .authentication = spec.authentication,
                                     .expiration = clock_real_s() + spec.ttl_ms / 1000,
                                     .signing = spec.signing,
                                     .groups = spec.groups,
                                     .n_groups = spec.n_groups };
        (void)bootstrap_token_split(str_c(token), &t.id, &t.secret);
        write_json(&t, &b);
        return print(o, &b, err);
    }
    return true;
}

static bool list(const struct token_options *o, struct session *s, struct err *err)
{
    struct arena a;
    struct str body;
    struct core_v1_secret_list secrets = { 0 };
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, MAX_OUTPUT);
    arena_init(&a, 256u << 20);
    bool ok = session_read(s, SECRETS "?fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken", &a, &body, NULL, err) &&
              api_decode_json(&a, &core_v1_secret_list_type, body, NULL, &secrets, err);
    bool text = str_empty(o->output), names = str_eq_c(o->output, "name"), first = true;
    if (ok && text) {
        printf("%-8s %-10s %-24s %-26s %s\n", "ID", "TTL", "EXPIRES", "USAGES", "DESCRIPTION");
    }
    buf_append_c(&b, "[");
    for (size_t i = 0; ok && i < secrets.n_items; i++) {
        struct bootstrap_token t;
        if (!bootstrap_token_read(&secrets.items[i], &a, &t, err)) {
            fprintf(stderr, "Warning: the Secret %.*s is no token: %s\n", STR_ARG(secrets.items[i].metadata.name),
                    err->msg);
            continue;
        }
        if (names) {
            printf("%.*s\n", STR_ARG(t.id));
        } else if (text) {
            char left[32];
            CLEANUP(buf_deinit) struct buf when;
            buf_init(&when, 64);
            write_expires(&t, &when);
            write_left(&t, left);
            printf("%-8.*s %-10s %-24.*s %-26s %.*s\n", STR_ARG(t.id), left,
                   STR_ARG(when.len ? buf_str(&when) : STR("-")),
                   t.authentication && t.signing ? "authentication,signing"
                   : t.authentication            ? "authentication"
                   : t.signing                   ? "signing"
                                                 : "-",
                   STR_ARG(t.description));
        } else {
            buf_append_c(&b, first ? "" : ",\n ");
            write_json(&t, &b);
            first = false;
        }
    }
    buf_append_c(&b, "]");
    ok = ok && (text || names || print(o, &b, err));
    arena_deinit(&a);
    return ok;
}

static bool delete (const char *token, struct session *s, struct err *err)
{
    struct str id = str_c(token), whole, secret;
    struct arena a;
    struct val v;
    char path[200];
    int status = 0;
    if (bootstrap_token_split(id, &whole, &secret)) {
        id = whole;
    }
    if (!bootstrap_token_is_id(id)) {
        return err_set(err, ERR_INVALID, "what is deleted is named by its id, 6 of a-z and 0-9");
    }
    arena_init(&a, 1u << 20);
    (void)snprintf(path, sizeof(path), SECRETS "/bootstrap-token-%.*s", STR_ARG(id));
    bool ok = session_ask(s, "DELETE", path, STR_NULL, &a, &v, &status, err);
    if (!ok && status == 404) {
        err_set(err, ERR_NOT_FOUND, "there is no token with the id \"%.*s\"", STR_ARG(id));
    }
    arena_deinit(&a);
    if (ok) {
        printf("token \"%.*s\" deleted\n", STR_ARG(id));
    }
    return ok;
}

static int run(int argc, char **argv)
{
    static struct token_options o;
    const struct flag_section sections[] = { { "token", where_flags, ARRAY_SIZE(where_flags), &o },
                                             { "create", create_flags, ARRAY_SIZE(create_flags), &o } };
    const struct flag_program program = {
        .name = "coracle token",
        .about = "Makes, lists and deletes the tokens by which hosts join a cluster.",
        .usage = "coracle token create [flags]\n  coracle token list [flags]\n  coracle token delete ID... [flags]",
        .sections = sections,
        .n_sections = ARRAY_SIZE(sections),
        .takes_arguments = true
    };
    struct flag_result flags;
    struct client_config config;
    struct session s;
    struct arena a;
    struct err err = { .code = ERR_NONE };
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    const char *verb = flags.n_args ? flags.args[0] : "";
    bool creates = strcmp(verb, "create") == 0, lists = strcmp(verb, "list") == 0,
         deletes = strcmp(verb, "delete") == 0;
    if (!(creates && flags.n_args == 1) && !(lists && flags.n_args == 1) && !(deletes && flags.n_args > 1)) {
        fprintf(stderr,
                "Error: coracle token create, list, or delete with the ids of tokens\nSee 'coracle token --help'.\n");
        return 1;
    }
    if (!str_empty(o.output) && !str_eq_c(o.output, "json") && !str_eq_c(o.output, "yaml") &&
        !str_eq_c(o.output, "name")) {
        fprintf(stderr, "Error: --output takes json, yaml or name, not \"%.*s\"\n", STR_ARG(o.output));
        return 1;
    }
    arena_init(&a, ARENA_NO_BUDGET);
    bool ok = find_cluster(&o, &a, &config, &err) && session_open_as(&s, &config, &err);
    if (ok) {
        ok = creates ? create(&o, &s, &config, &err) : lists ? list(&o, &s, &err) : true;
        for (size_t i = 1; ok && deletes && i < flags.n_args; i++) {
            ok = delete (flags.args[i], &s, &err);
        }
        session_close(&s);
    }
    arena_deinit(&a);
    if (!ok) {
        fprintf(stderr, "Error: %s\n", err.msg);
        return 1;
    }
    return 0;
}

const struct cluster_command cluster_cmd_token = { .name = "token",
                                                   .about = "make, list and delete the tokens by which hosts join",
                                                   .run = run };
