#include "tunnel/ssh-key.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/rand.h"
#include "tunnel/limits.h"
#include "tunnel/ssh-lib.h"

#define KEY_COMMENT "coracle-tunnel"

static bool public_line(const struct ssh_lib *lib, ssh_key key, struct buf *b)
{
    char *base64 = NULL;
    if (lib->ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK) {
        return false;
    }
    enum ssh_keytypes_e type = lib->ssh_key_type(key);
    const char *ecdsa = type == SSH_KEYTYPE_ECDSA_P256 || type == SSH_KEYTYPE_ECDSA_P384 || type == SSH_KEYTYPE_ECDSA_P521
                            ? lib->ssh_pki_key_ecdsa_name(key) : NULL;
    buf_printf(b, "%s %s " KEY_COMMENT, ecdsa ? ecdsa : lib->ssh_key_type_to_char(type), base64);
    lib->ssh_string_free_char(base64);
    return !buf_failed(b);
}

/* A key under a name of its own, then linked to 'path': whoever else makes one at the same moment has it first or second, whole. */
static bool make(const struct ssh_lib *lib, const char *path, struct err *err)
{
    char tmp[PATH_MAX], pub[PATH_MAX], suffix[9];
    CLEANUP(buf_deinit) struct buf line;
    ssh_key key = NULL;
    buf_init(&line, TUNNEL_MAX_KEY_FILE);
    rand_suffix(suffix, sizeof(suffix) - 1);
    if ((size_t)snprintf(tmp, sizeof(tmp), "%s.%s", path, suffix) >= sizeof(tmp) ||
        (size_t)snprintf(pub, sizeof(pub), "%s.pub", path) >= sizeof(pub)) {
        return err_set(err, ERR_INVALID, "the path of the SSH key is too long");
    }
    int fd = open(tmp, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot make the SSH key %s", path);
    }
    bool ok = lib->ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key) == SSH_OK &&
              lib->ssh_pki_export_privkey_file(key, NULL, NULL, NULL, tmp) == SSH_OK && public_line(lib, key, &line);
    if (!ok) {
        err_set(err, ERR_IO, "libssh cannot make or write an Ed25519 key");
    } else if (fsync(fd) < 0 || (link(tmp, path) < 0 && errno != EEXIST)) {
        ok = err_set_errno(err, errno, "cannot make the SSH key %s", path);
    }
    buf_append_char(&line, '\n');
    ok = ok && fs_write_atomic(pub, buf_str(&line), 0644, err);
    lib->ssh_key_free(key);
    (void)close(fd);
    (void)unlink(tmp);
    if (ok) {
        log_info("tunnel: made the SSH key %s; its public half, for authorized_keys of every node, is in %s", path, pub);
    }
    return ok;
}

static bool is_private(const struct stat *st, const char *path, struct err *err)
{
    if (!S_ISREG(st->st_mode)) {
        return err_set(err, ERR_INVALID, "the SSH key %s is no file", path);
    }
    if (st->st_mode & 077) {
        return err_set(err, ERR_INVALID, "the SSH key %s may be read or written by others (mode %04o): it is not used", path,
                       (unsigned)st->st_mode & 07777);
    }
    return st->st_uid == geteuid() || st->st_uid == 0 ||
           err_set(err, ERR_INVALID, "the SSH key %s belongs to somebody else: it is not used", path);
}

struct ssh_key_struct *tunnel_ssh_key(const char *path, struct buf *ret_public, struct err *err)
{
    const struct ssh_lib *lib = ssh_lib(err);
    ssh_key key = NULL;
    struct stat st;
    if (!lib) {
        return NULL;
    }
    if (stat(path, &st) < 0 && (errno != ENOENT || !make(lib, path, err) || stat(path, &st) < 0)) {
        if (errno != ENOENT) {
            err_set_errno(err, errno, "the SSH key %s", path);
        }
        return NULL;
    }
    if (!is_private(&st, path, err)) {
        return NULL;
    }
    if (lib->ssh_pki_import_privkey_file(path, NULL, NULL, NULL, &key) != SSH_OK) {
        err_set(err, ERR_INVALID, "%s holds no private SSH key that can be read without a passphrase", path);
        return NULL;
    }
    if (!public_line(lib, key, ret_public)) {
        lib->ssh_key_free(key);
        err_set(err, ERR_INVALID, "the public half of %s cannot be told", path);
        return NULL;
    }
    return key;
}
