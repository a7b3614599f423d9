#include "tunnel/ssh-lib.h"

#include <dlfcn.h>

#define SSH_LIB_FILE "libssh.so.4"

const struct ssh_lib *ssh_lib(struct err *err)
{
    static struct ssh_lib table;
    static bool loaded;
    if (loaded) {
        return &table;
    }
    void *handle = dlopen(SSH_LIB_FILE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
        err_set(err, ERR_UNAVAILABLE, "SSH tunnels need libssh (Debian: libssh-4): %s", dlerror());
        return NULL;
    }
#define SSH_LIB_LOAD(name) \
    { \
        void *symbol = dlsym(handle, #name); \
        if (!symbol) { \
            err_set(err, ERR_UNAVAILABLE, "%s has no %s: SSH tunnels need libssh 0.10 or later", SSH_LIB_FILE, #name); \
            return NULL; \
        } \
        memcpy(&table.name, &symbol, sizeof(symbol)); \
    }
    SSH_LIB_FUNCTIONS(SSH_LIB_LOAD)
#undef SSH_LIB_LOAD
    if (!table.ssh_version(SSH_VERSION_INT(0, 10, 0))) {
        err_set(err, ERR_UNAVAILABLE, "SSH tunnels need libssh 0.10 or later; this is %s", table.ssh_version(0));
        return NULL;
    }
    table.ssh_set_log_level(SSH_LOG_NOLOG);
    loaded = true;
    return &table;
}
