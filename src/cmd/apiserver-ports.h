/* Where kube-apiserver listens: --secure-port, --insecure-port, sockets that were handed in; and the address it advertises. */
#ifndef CMD_APISERVER_PORTS_H
#define CMD_APISERVER_PORTS_H

#include "base/flags.h"

struct apiserver_ports {
    int64_t insecure_port;
    struct str bind_address, insecure_bind_address;
    bool insecure_beyond_loopback;
    struct flag_strings listen_fds;
};

/* A section of --help for what is above; --secure-port and --advertise-address are beside it. */
extern const struct flag apiserver_port_flags[];
extern const size_t apiserver_n_port_flags;

/* Ports are ports, addresses are addresses, something is served, and the insecure port is kept on loopback unless told otherwise. */
MUST_CHECK bool apiserver_ports_check(const struct apiserver_ports *p, int64_t secure_port, struct err *err);
/* The sockets of the secure port: those handed in, or one that is bound now; none when the port is 0. */
MUST_CHECK bool apiserver_ports_secure(const struct apiserver_ports *p, int64_t secure_port, int sockets[8], size_t *ret_n, struct err *err);
/* The socket of the insecure port; '*ret_fd' is -1 when the port is 0. */
MUST_CHECK bool apiserver_ports_insecure(const struct apiserver_ports *p, int *ret_fd, struct err *err);
/* The default of --advertise-address: --bind-address, or when that is every interface the address of the one that the default route
 * goes by, or loopback when there is none. Lives as long as the process. */
struct str apiserver_ports_advertise(const struct apiserver_ports *p);

#endif
