/*
 * 10,000 Services with ten endpoints each: how long the whole table takes, and one change; and the
 * memory for it. In a network namespace of our own; needs the rights for that.
 */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/arena.h"
#include "base/clock.h"
#include "nft/socket.h"
#include "proxy/netns.h"
#include "proxy/ruleset.h"

#define N_ENDPOINTS 10
#define CHANGES 200

struct bench {
    struct ruleset *rs;
    struct nft_socket *nl;
    struct arena a;
    struct discovery_v1_endpoint endpoints[N_ENDPOINTS];
    struct str addresses[N_ENDPOINTS];
};

static void set(struct bench *b, unsigned i, size_t n_endpoints)
{
    struct core_v1_service_port port = { .protocol = STR("TCP"), .port = 80 };
    struct discovery_v1_endpoint_port slice_port = { .protocol = STR("TCP"),
                                                     .port = 8080,
                                                     .has_port = true };
    struct discovery_v1_endpoint_slice slice = { .address_type = STR("IPv4"),
                                                 .endpoints = b->endpoints,
                                                 .n_endpoints = n_endpoints,
                                                 .ports = &slice_port,
                                                 .n_ports = 1 };
    const struct discovery_v1_endpoint_slice *slices[] = { &slice };
    arena_clear(&b->a);
    struct core_v1_service s = { .spec = { .ports = &port,
                                           .n_ports = 1,
                                           .type = STR("ClusterIP"),
                                           .cluster_ip = arena_printf(&b->a, "10.100.%u.%u",
                                                                      i / 250, i % 250 + 1) } };
    for (unsigned k = 0; k < N_ENDPOINTS; k++) {
        unsigned e = i * N_ENDPOINTS + k;
        b->addresses[k] =
            arena_printf(&b->a, "10.%u.%u.%u", 1 + e / 62500, e / 250 % 250, e % 250 + 1);
        b->endpoints[k] = (struct discovery_v1_endpoint){ .addresses = &b->addresses[k],
                                                          .n_addresses = 1,
                                                          .node_name = STR("other") };
    }
    ruleset_set_service(b->rs, arena_printf(&b->a, "bench/service-%u", i), &s, slices, 1);
}

static double apply(struct bench *b, bool all, size_t *ret_bytes)
{
    struct nft_batch x;
    struct err err;
    uint64_t begin = clock_mono_ns();
    nft_batch_init(&x, NFPROTO_IPV4, PROXY_TABLE, 0, nft_socket_seq(b->nl));
    if (all) {
        ruleset_write_all(b->rs, &x);
    } else {
        ruleset_write_changes(b->rs, &x);
    }
    nft_batch_end(&x);
    *ret_bytes = x.b.len;
    if (!nft_socket_send(b->nl, &x, NULL, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    nft_batch_deinit(&x);
    return (double)(clock_mono_ns() - begin) / 1e6;
}

int main(int argc, char **argv)
{
    struct netns ns;
    struct err err;
    struct rusage u;
    uint64_t n = 10000;
    size_t bytes;
    double sum = 0, most = 0;
    struct bench b = { 0 };
    if (argc > 1 && !str_to_u64(str_c(argv[1]), &n)) {
        fprintf(stderr, "usage: bench-proxy [SERVICES]\n");
        return 1;
    }
    if (!netns_make(&ns, &err) || !(b.nl = nft_socket_open(&err))) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    struct ruleset_config config = { .node = STR("here"), .table.family = NFPROTO_IPV4 };
    b.rs = ruleset_new(&config);
    arena_init(&b.a, 1 << 20);
    uint64_t begin = clock_mono_ns();
    for (unsigned i = 0; i < n; i++) {
        set(&b, i, N_ENDPOINTS);
    }
    printf("%llu Services, %d endpoints each\n", (unsigned long long)n, N_ENDPOINTS);
    printf("ruleset: %.0f ms\n", (double)(clock_mono_ns() - begin) / 1e6);
    double ms = apply(&b, true, &bytes);
    getrusage(RUSAGE_SELF, &u);
    printf("whole table: %.0f ms, %.1f MB of messages, %.1f MB resident at most\n", ms,
           (double)bytes / 1e6, (double)u.ru_maxrss / 1e3);
    for (unsigned i = 0; i < CHANGES; i++) {
        begin = clock_mono_ns();
        set(&b, i * 7 % (unsigned)n, N_ENDPOINTS - 1);
        apply(&b, false, &bytes);
        ms = (double)(clock_mono_ns() - begin) / 1e6;
        sum += ms;
        most = MAX(most, ms);
    }
    printf("an endpoint goes: %.2f ms on average, %.2f ms at most, %zu bytes\n", sum / CHANGES,
           most, bytes);
    nft_socket_close(b.nl);
    ruleset_free(b.rs);
    arena_deinit(&b.a);
    netns_end(&ns);
    return 0;
}
