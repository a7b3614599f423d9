/* For tests of the modes: three endpoints in each family that answer with their number, an engine and a loop, in network namespaces of
 * our own (netns.h). */
#ifndef PROXY_TEST_MODES_H
#define PROXY_TEST_MODES_H

#include <poll.h>
#include <pthread.h>

#include "base/test.h"
#include "nft/socket.h"
#include "proxy/netns.h"
#include "proxy/userspace.h"

#define PORT 8080
#define N_ENDPOINTS 3

/* Listens on one address in a thread: says its number, then gives back what it gets until that ends. */
struct server {
    int tcp, udp;
    char number;
    pthread_t thread, udp_thread;
};

struct modes {
    struct netns ns;
    struct loop *loop;
    struct engine *engine;
    struct nft_socket *nl;
    struct server servers[2 * N_ENDPOINTS]; /* IPv4, then IPv6 */
    struct core_v1_service service;
    struct core_v1_service_port port;
    struct str ips[2];
    struct discovery_v1_endpoint_slice slice[2];
    struct discovery_v1_endpoint endpoints[2][N_ENDPOINTS];
    struct str addresses[2][N_ENDPOINTS];
    struct discovery_v1_endpoint_port slice_port;
    char told[64], again[64];
};

int modes_bound(uint8_t family, const char *ip, uint16_t port, int type);
void modes_write(struct modes *f, bool all);
void modes_set(struct modes *f, const char *key, bool there);
/* Brings the Service's present state into the kernel. */
void modes_apply(struct modes *f);
struct userspace_config modes_config(struct modes *f);
/* Service 10.96.0.10 and fd96::10, port 80, of three endpoints in each family. The endpoint that is 'dead' does not listen. */
void modes_setup(struct modes *f, const struct userspace_config *config, int dead);
void modes_teardown(struct modes *f);
/* Turns the loop until the descriptor has events, or for 'ms'. */
bool modes_await(struct modes *f, int fd, short events, int ms);
void modes_turn(struct modes *f, int ms);
/* A connection from a namespace, begun. */
int modes_begin_from(struct modes *f, int ns, const char *from, const char *ip, uint16_t port, int type);
/* Which endpoint answers: its number; -1 reset or refused, -2 no answer in 2 s, -3 closed without a word. */
int modes_read_number(struct modes *f, int fd);
int modes_reach_from(struct modes *f, int ns, const char *from, const char *ip, uint16_t port);
int modes_reach(struct modes *f, const char *ip, uint16_t port);
size_t modes_elements(const struct modes *f);
void modes_note_again(void *data, struct str key);

#endif
