/*
 * The node's CNI configuration, written from its podCIDR: a routed link to each pod, with an address from the range, and host
 * ports. Masquerading and host ports of the standard plugins need iptables: where it is not installed they are left out.
 *
 * A link each, rather than one bridge for all: over a bridge the answer of a pod to another one of the same node does not pass
 * the node's rules, so a Service's address is not put back into it, unless the kernel has br_netfilter loaded. Many have not.
 */
#include "kubelet/node-private.h"

#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"

static bool have_iptables(void)
{
    return access("/usr/sbin/iptables", X_OK) == 0 || access("/sbin/iptables", X_OK) == 0 || access("/usr/bin/iptables", X_OK) == 0;
}

bool cni_write(struct kubelet *k, struct str cidr, struct err *err)
{
    char dir[PATH_MAX], path[PATH_MAX];
    CLEANUP(buf_deinit) struct buf b, old;
    buf_init(&b, 65536);
    buf_init(&old, 65536);
    bool v6 = str_find_char(cidr, ':') >= 0, tables = have_iptables();
    if (!str_to_cstr(k->cfg->cni_conf_dir, dir, sizeof(dir)) || !fs_mkdirs(dir, 0755, err)) {
        return false;
    }
    snprintf(path, sizeof(path), "%.4000s/10-coracle.conflist", dir);
    buf_printf(&b,
               "{\n  \"cniVersion\": \"0.4.0\",\n  \"name\": \"coracle\",\n  \"plugins\": [\n"
               "    {\n      \"type\": \"ptp\",\n      \"ipMasq\": %s,\n"
               "      \"ipam\": {\n        \"type\": \"host-local\",\n"
               "        \"ranges\": [[{ \"subnet\": \"%.*s\" }]],\n        \"routes\": [{ \"dst\": \"%s\" }]\n      }\n    }",
               tables && k->cfg->cni_masquerade ? "true" : "false", STR_ARG(cidr), v6 ? "::/0" : "0.0.0.0/0");
    if (tables) {
        buf_append_c(&b, ",\n    { \"type\": \"portmap\", \"capabilities\": { \"portMappings\": true } }");
    }
    buf_append_c(&b, "\n  ]\n}\n");
    if (fs_read(path, 65536, &old, NULL) && str_eq(buf_str(&old), buf_str(&b))) {
        return true;
    }
    log_info("pod addresses come from %.*s: %s", STR_ARG(cidr), path);
    return fs_write_atomic(path, buf_str(&b), 0644, err);
}
