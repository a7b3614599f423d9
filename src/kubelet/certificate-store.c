#include "kubelet/certificate-store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

void cert_pair_init(struct cert_pair *p)
{
    buf_init(&p->cert_pem, CERT_PAIR_MAX);
    buf_init(&p->key_pem, CERT_PAIR_MAX);
    p->leaf = NULL;
}

static void wipe(struct buf *b)
{
    if (b->ptr) {
        explicit_bzero(b->ptr, b->len);
    }
    buf_deinit(b);
}

void cert_pair_deinit(struct cert_pair *p)
{
    wipe(&p->cert_pem);
    wipe(&p->key_pem);
    p->leaf = pki_cert_unref(p->leaf);
}

bool cert_pair_set(struct cert_pair *p, struct str cert_pem, struct str key_pem, struct err *err)
{
    struct str rest = cert_pem;
    CLEANUP(pki_cert_unrefp) struct pki_cert *leaf = pki_cert_read(&rest, err);
    CLEANUP(pki_key_unrefp) struct pki_key *key = leaf ? pki_key_read_private(key_pem, err) : NULL;
    if (!key) {
        return false;
    }
    if (!pki_cert_matches_key(leaf, key)) {
        return err_set(err, ERR_INVALID, "the certificate is for another key");
    }
    struct cert_pair fresh;
    cert_pair_init(&fresh);
    buf_append(&fresh.cert_pem, cert_pem);
    buf_append(&fresh.key_pem, key_pem);
    if (buf_failed(&fresh.cert_pem) || buf_failed(&fresh.key_pem)) {
        cert_pair_deinit(&fresh);
        return err_set(err, ERR_TOO_LARGE, "the certificate's chain is larger than %u bytes", CERT_PAIR_MAX);
    }
    fresh.leaf = TAKE(leaf);
    cert_pair_deinit(p);
    *p = fresh;
    return true;
}

void cert_store_current_path(const struct cert_store *s, char dst[PATH_MAX])
{
    snprintf(dst, PATH_MAX, "%s/%s-current.pem", s->dir, s->prefix);
}

bool cert_store_read(const struct cert_store *s, struct cert_pair *ret, struct err *err)
{
    char path[PATH_MAX];
    struct buf b;
    cert_store_current_path(s, path);
    buf_init(&b, CERT_PAIR_MAX);
    bool ok = fs_read(path, CERT_PAIR_MAX, &b, err) &&
              (cert_pair_set(ret, buf_str(&b), buf_str(&b), err) || err_wrap(err, "%s", path));
    wipe(&b);
    return ok;
}

/* Removes what neither link nor 'keep' needs: all but the newest two by name, which is by time. */
static void prune(const struct cert_store *s, const char *current)
{
    char prefix[64], before[256] = "", path[PATH_MAX];
    snprintf(prefix, sizeof(prefix), "%s-2", s->prefix); /* of the date's year */
    for (int pass = 0; pass < 2; pass++) {
        DIR *d = opendir(s->dir);
        for (struct dirent *e; d && (e = readdir(d));) {
            if (strncmp(e->d_name, prefix, strlen(prefix)) != 0 || strcmp(e->d_name, current) == 0 ||
                strlen(e->d_name) >= sizeof(before)) {
                continue;
            }
            if (pass == 0 && strcmp(e->d_name, before) > 0) {
                snprintf(before, sizeof(before), "%s", e->d_name);
            } else if (pass == 1 && strcmp(e->d_name, before) != 0) {
                snprintf(path, sizeof(path), "%s/%s", s->dir, e->d_name);
                (void)unlink(path);
            }
        }
        if (d) {
            closedir(d);
        }
    }
}

static bool turn_link(const struct cert_store *s, const char *name, struct err *err)
{
    char link[PATH_MAX], fresh[PATH_MAX];
    cert_store_current_path(s, link);
    snprintf(fresh, sizeof(fresh), "%s/%s-updated.pem", s->dir, s->prefix);
    (void)unlink(fresh);
    if (symlink(name, fresh) < 0 || rename(fresh, link) < 0) {
        return err_set_errno(err, errno, "cannot turn %s to the new certificate", link);
    }
    CLEANUP(fs_closep) int dir = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return (dir >= 0 && fsync(dir) == 0) || err_set_errno(err, errno, "cannot make %s durable", s->dir);
}

bool cert_store_write(const struct cert_store *s, const struct cert_pair *p, int64_t now, struct err *err)
{
    char stamp[CLOCK_RFC3339_SIZE], name[256], path[PATH_MAX];
    struct buf b;
    if (!fs_mkdirs(s->dir, 0700, err)) {
        return false;
    }
    char present[256] = "";
    cert_store_current_path(s, path);
    ssize_t n = readlink(path, present, sizeof(present) - 1);
    present[MAX(n, (ssize_t)0)] = '\0';
    /* Two within a second get names of their own, in order; after a clock that went back the order is given up. */
    for (int64_t at = now;; at++) {
        clock_format_rfc3339(at, 0, 0, stamp);
        for (char *q = stamp; *q; q++) {
            *q = *q == 'T' || *q == ':' ? '-' : *q == 'Z' ? '\0' : *q;
        }
        snprintf(name, sizeof(name), "%s-%s.pem", s->prefix, stamp);
        snprintf(path, sizeof(path), "%s/%s", s->dir, name);
        if (access(path, F_OK) < 0 && (strcmp(name, present) > 0 || at > now + 10)) {
            break;
        }
    }
    buf_init(&b, 2 * CERT_PAIR_MAX);
    buf_append(&b, buf_str(&p->cert_pem));
    if (b.len && b.ptr[b.len - 1] != '\n') {
        buf_append_char(&b, '\n');
    }
    buf_append(&b, buf_str(&p->key_pem));
    bool ok = fs_write_atomic(path, buf_str(&b), 0600, err) && turn_link(s, name, err);
    wipe(&b);
    if (ok) {
        prune(s, name);
    }
    return ok;
}
