#include "cluster/user-config.h"

#include <errno.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/yaml.h"
#include "base/encoding.h"
#include "base/fs.h"

#define USER_CONFIG_MAX (8 << 20)

bool user_config_path(struct str flag, char dst[PATH_MAX], struct err *err)
{
    const char *env = getenv("KUBECONFIG"), *home = getenv("HOME");
    struct str path = flag, rest;
    if (str_empty(path) && env && *env) {
        (void)str_cut(str_c(env), ':', &path, &rest);
    }
    if (str_empty(path)) {
        const struct passwd *pw = home && *home ? NULL : getpwuid(geteuid());
        home = pw ? pw->pw_dir : home;
        if (!home || !*home) {
            return err_set(err, ERR_NOT_FOUND, "there is no home folder for a kubeconfig: use --kubeconfig");
        }
        path_of(dst, "%s/.kube/config", home);
        return true;
    }
    return str_to_cstr(path, dst, PATH_MAX) || err_set(err, ERR_INVALID, "the path of the kubeconfig is too long");
}

void user_config_context(const struct place *place, char dst[64])
{
    if (strcmp(place->name, PLACE_DEFAULT_NAME) == 0) {
        snprintf(dst, 64, "%s", PLACE_DEFAULT_NAME);
    } else {
        snprintf(dst, 64, "%s-%s", PLACE_DEFAULT_NAME, place->name);
    }
}

/* Reads the file into 'doc'; an absent or empty one gives an empty Config. */
static bool read_config(const char *path, struct arena *a, struct buf *text, struct val *doc, bool *ret_found,
                        struct err *err)
{
    struct err why;
    *ret_found = fs_read(path, USER_CONFIG_MAX, text, &why);
    if (!*ret_found && why.code != ERR_NOT_FOUND) {
        *err = why;
        return false;
    }
    if (!yaml_or_json_parse(a, buf_str(text), NULL, doc, err)) {
        return err_wrap(err, "%s", path);
    }
    if (doc->kind == VAL_NULL) {
        *doc = val_object();
    }
    return doc->kind == VAL_OBJECT || err_set(err, ERR_INVALID, "%s is no kubeconfig", path);
}

static bool write_config(const char *path, const struct val *doc, struct err *err)
{
    struct buf b;
    struct stat st;
    char dir[PATH_MAX];
    path_of(dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash && slash != dir) {
        *slash = '\0';
        if (!fs_mkdirs(dir, 0700, err)) {
            return false;
        }
    } else {
        path_of(dir, "%s", slash ? "/" : ".");
    }
    bool owner = stat(path, &st) == 0 || stat(dir, &st) == 0;
    buf_init(&b, USER_CONFIG_MAX * 2);
    yaml_write(&b, doc);
    bool ok = buf_failed(&b) ? err_set(err, ERR_TOO_LARGE, "the kubeconfig %s is too large", path)
                             : fs_write_atomic(path, buf_str(&b), 0600, err);
    explicit_bzero(b.ptr, b.len);
    buf_deinit(&b);
    if (ok && owner && chown(path, st.st_uid, st.st_gid) < 0) {
        return err_set_errno(err, errno, "cannot give %s back to its owner", path);
    }
    return ok;
}

/* The list under 'key', made when there is none. */
static struct val *list_at(struct arena *a, struct val *doc, const char *key)
{
    struct val *list = val_get(doc, str_c(key));
    return val_is(list, VAL_ARRAY) ? list : val_set(a, doc, str_c(key), val_array());
}

static void remove_named(struct val *list, const char *name)
{
    for (size_t i = list->n; i > 0; i--) {
        if (str_eq_c(val_get_str(&list->items[i - 1], STR("name")), name)) {
            val_remove_at(list, i - 1);
        }
    }
}

/* Puts { name: NAME, <kind>: body } at the end of the list, or in the place of the one of that name. */
static bool put_named(struct arena *a, struct val *doc, const char *list_key, const char *kind, const char *name,
                      struct val body)
{
    struct val *list = list_at(a, doc, list_key);
    struct val entry = val_object();
    if (!list || !val_add(a, &entry, STR("name"), val_string(str_c(name))) || !val_add(a, &entry, str_c(kind), body)) {
        return false;
    }
    for (size_t i = 0; i < list->n; i++) {
        if (str_eq_c(val_get_str(&list->items[i], STR("name")), name)) {
            list->items[i] = entry;
            return true;
        }
    }
    return val_push(a, list, entry) != NULL;
}

static struct val base64_of(struct arena *a, struct str bytes)
{
    struct buf b;
    buf_init(&b, USER_CONFIG_MAX);
    base64_encode(&b, bytes);
    struct val v = val_string(arena_str(a, buf_str(&b)));
    buf_deinit(&b);
    return v;
}

static bool add_entries(struct arena *a, struct val *doc, const char *name, const struct client_config *config)
{
    struct val cluster = val_object(), user = val_object(), context = val_object();
    return (val_get(doc, STR("apiVersion")) || val_add(a, doc, STR("apiVersion"), val_string(STR("v1")))) &&
           (val_get(doc, STR("kind")) || val_add(a, doc, STR("kind"), val_string(STR("Config")))) &&
           val_add(a, &cluster, STR("certificate-authority-data"), base64_of(a, config->ca_pem)) &&
           val_add(a, &cluster, STR("server"), val_string(config->server)) &&
           val_add(a, &user, STR("client-certificate-data"), base64_of(a, config->client_cert_pem)) &&
           val_add(a, &user, STR("client-key-data"), base64_of(a, config->client_key_pem)) &&
           val_add(a, &context, STR("cluster"), val_string(str_c(name))) &&
           val_add(a, &context, STR("user"), val_string(str_c(name))) &&
           put_named(a, doc, "clusters", "cluster", name, cluster) && put_named(a, doc, "users", "user", name, user) &&
           put_named(a, doc, "contexts", "context", name, context) &&
           val_set(a, doc, STR("current-context"), val_string(str_c(name)));
}

static bool has_named(const struct val *list, const char *name)
{
    for (size_t i = 0; val_is(list, VAL_ARRAY) && i < list->n; i++) {
        if (str_eq_c(val_get_str(&list->items[i], STR("name")), name)) {
            return true;
        }
    }
    return false;
}

bool user_config_renew(const char *path, const char *name, const struct client_config *config, struct err *err)
{
    struct arena a;
    struct buf text;
    struct val doc, user = val_object();
    bool found;
    arena_init(&a, 64 << 20);
    buf_init(&text, USER_CONFIG_MAX);
    bool ok = read_config(path, &a, &text, &doc, &found, err);
    if (ok && found && has_named(val_get(&doc, STR("users")), name)) {
        ok = (val_add(&a, &user, STR("client-certificate-data"), base64_of(&a, config->client_cert_pem)) &&
              val_add(&a, &user, STR("client-key-data"), base64_of(&a, config->client_key_pem)) &&
              put_named(&a, &doc, "users", "user", name, user)) ||
             err_set(err, ERR_NO_MEMORY, "the kubeconfig %s is too large", path);
        ok = ok && write_config(path, &doc, err);
    }
    buf_deinit(&text);
    arena_deinit(&a);
    return ok;
}

bool user_config_add(const char *path, const char *name, const struct client_config *config, struct err *err)
{
    struct arena a;
    struct buf text;
    struct val doc;
    bool found;
    arena_init(&a, 64 << 20);
    buf_init(&text, USER_CONFIG_MAX);
    bool ok = read_config(path, &a, &text, &doc, &found, err);
    if (ok && !add_entries(&a, &doc, name, config)) {
        ok = err_set(err, ERR_NO_MEMORY, "the kubeconfig %s is too large", path);
    }
    ok = ok && write_config(path, &doc, err);
    buf_deinit(&text);
    arena_deinit(&a);
    return ok;
}

bool user_config_remove(const char *path, const char *name, struct err *err)
{
    static const char *const lists[] = { "clusters", "users", "contexts" };
    struct arena a;
    struct buf text;
    struct val doc;
    bool found, changed = false;
    arena_init(&a, 64 << 20);
    buf_init(&text, USER_CONFIG_MAX);
    bool ok = read_config(path, &a, &text, &doc, &found, err);
    for (size_t i = 0; ok && found && i < ARRAY_SIZE(lists); i++) {
        struct val *list = val_get(&doc, str_c(lists[i]));
        if (val_is(list, VAL_ARRAY)) {
            uint32_t before = list->n;
            remove_named(list, name);
            changed = changed || list->n != before;
        }
    }
    if (ok && found && str_eq_c(val_get_str(&doc, STR("current-context")), name)) {
        changed = true;
        ok = val_set(&a, &doc, STR("current-context"), val_string(STR_EMPTY)) != NULL;
    }
    ok = ok && (!changed || write_config(path, &doc, err));
    buf_deinit(&text);
    arena_deinit(&a);
    return ok;
}
