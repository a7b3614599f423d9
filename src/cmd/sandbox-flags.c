#include "cmd/sandbox-flags.h"

#include <limits.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "cluster/confine.h"

const struct flag sandbox_flags[] = {
    FLAG_BOOL(struct sandbox_options, on, "sandbox", "false",
              "Give up all privileges that are not needed, administrators' system calls, and all files but the folders of what the flags name",
              .secure = "true"),
    FLAG_STRINGS(struct sandbox_options, paths, "sandbox-paths", "", "With --sandbox: further folders to read, such as those that a kubeconfig names"),
};
const size_t sandbox_n_flags = ARRAY_SIZE(sandbox_flags);

struct paths {
    struct confinement c;
    size_t n_read, n_write;
    uint64_t keep; /* capabilities without which root does not get at files of others */
};

/* Root without capabilities is a user like any other: files of others need the right to them, within the folders that are named. */
static void note_owner(struct paths *p, const char *path, bool write)
{
    struct stat st;
    if (geteuid() == 0 && stat(path, &st) == 0 && st.st_uid != 0 && !(st.st_mode & (write ? S_IWOTH : S_IROTH))) {
        p->keep |= UINT64_C(1) << (write ? CAP_DAC_OVERRIDE : CAP_DAC_READ_SEARCH);
    }
}

static void add(const char **list, size_t *n, const char *path)
{
    for (size_t i = 0; i < *n; i++) {
        if (strcmp(list[i], path) == 0) {
            return;
        }
    }
    char *copy = *n < CONFINE_MAX_PATHS ? strdup(path) : NULL;
    if (copy) {
        list[(*n)++] = copy; /* lives as long as the process */
    } else {
        log_warning("sandbox: more than %d folders: %s is not reached", CONFINE_MAX_PATHS, path);
    }
}

/* The folder, so that a file that is replaced is still found; a file of the root folder alone. */
static void add_folder_of(const char **list, size_t *n, const char *path)
{
    char folder[PATH_MAX];
    (void)snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == folder) {
        add(list, n, path);
        return;
    }
    if (slash) {
        *slash = 0;
    }
    add(list, n, slash ? folder : ".");
}

static bool ends_with_any(const char *name, const char *const *ends, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_ends(str_c(name), str_c(ends[i]))) {
            return true;
        }
    }
    return false;
}

static bool add_value(struct paths *p, const char *name, struct str value, struct err *err)
{
    static const char *const folders[] = { "-dir" }, *const sockets[] = { "socket", "ssh-keyfile" };
    static const char *const files[] = { "file", "kubeconfig", "config", "-certificate", "-key", "-authority", "-cert" };
    char path[PATH_MAX], real[PATH_MAX];
    if (str_empty(value) || !str_to_cstr(value, path, sizeof(path))) {
        return true;
    }
    if (ends_with_any(name, folders, ARRAY_SIZE(folders))) {
        if (!fs_mkdirs(path, 0700, err)) {
            return false;
        }
        add(p->c.write, &p->n_write, path);
        note_owner(p, path, true);
    } else if (ends_with_any(name, sockets, ARRAY_SIZE(sockets))) {
        add_folder_of(p->c.write, &p->n_write, path);
    } else if (ends_with_any(name, files, ARRAY_SIZE(files)) && (access(path, F_OK) == 0 || !str_ends(str_c(name), STR("kubeconfig")))) {
        add_folder_of(p->c.read, &p->n_read, path);
        note_owner(p, path, false);
        if (realpath(path, real)) { /* links to files that are replaced: projected volumes, kubelet-client-current.pem */
            add_folder_of(p->c.read, &p->n_read, real);
        }
    }
    return true;
}

static bool collect(struct paths *p, const struct flag_program *program, struct err *err)
{
    for (size_t i = 0; i < program->n_sections; i++) {
        const struct flag_section *s = &program->sections[i];
        for (size_t k = 0; k < s->n_flags; k++) {
            const struct flag *f = &s->flags[k];
            const void *at = (const char *)s->options + f->offset;
            if (f->kind == FLAG_KIND_STRING && !add_value(p, f->name, *(const struct str *)at, err)) {
                return false;
            }
            if (f->kind == FLAG_KIND_STRINGS || f->kind == FLAG_KIND_ARRAY) {
                const struct flag_strings *list = at;
                for (size_t n = 0; n < list->n; n++) {
                    if (!add_value(p, f->name, list->items[n], err)) {
                        return false;
                    }
                }
            }
        }
    }
    return true;
}

static bool confine(struct paths *p, const struct sandbox_options *o, uint64_t keep, struct err *err)
{
    static const char *const always[] = { "/run/systemd/resolve", "/var/run/secrets/kubernetes.io" };
    for (size_t i = 0; i < ARRAY_SIZE(always); i++) {
        add(p->c.read, &p->n_read, always[i]);
    }
    for (size_t i = 0; i < o->paths.n; i++) {
        char path[PATH_MAX];
        if (!str_to_cstr(o->paths.items[i], path, sizeof(path))) {
            return err_set(err, ERR_INVALID, "--sandbox-paths: a path is too long");
        }
        add(p->c.read, &p->n_read, path);
    }
    if (!confine_self(&p->c, keep | p->keep, err)) {
        return err_wrap(err, "--sandbox");
    }
    if (!confine_has_files()) {
        log_warning("sandbox: this kernel has no Landlock: users and modes alone keep files away");
    }
    return true;
}

bool sandbox_apply(const struct flag_program *program, const struct sandbox_options *o, uint64_t keep, struct err *err)
{
    struct paths p = { 0 };
    return !o->on || !confine_is_built_in() || (collect(&p, program, err) && confine(&p, o, keep, err));
}

bool sandbox_apply_files(const struct sandbox_options *o, const struct str *read, size_t n_read, const struct str *write, size_t n_write,
                         uint64_t keep, struct err *err)
{
    struct paths p = { 0 };
    for (size_t i = 0; i < n_read + n_write; i++) {
        /* By the names that add_value() knows. */
        if (!add_value(&p, i < n_read ? "file" : "socket", i < n_read ? read[i] : write[i - n_read], err)) {
            return false;
        }
    }
    return !o->on || !confine_is_built_in() || confine(&p, o, keep, err);
}
