#include "proxy/balancer.h"

#include <stdlib.h>

struct client {
    struct list link;
    struct proxy_addr addr;
    struct proxy_endpoint endpoint;
    uint64_t used_ms;
};

void balancer_init(struct balancer *b)
{
    *b = (struct balancer){ 0 };
    map_init(&b->clients);
    list_init(&b->by_age);
}

static struct str key_of(const struct proxy_addr *a)
{
    return str_n((const char *)a->b, sizeof(a->b));
}

static void forget(struct balancer *b, struct client *c)
{
    map_remove(&b->clients, key_of(&c->addr));
    list_remove(&c->link);
    free(c);
}

static void forget_all(struct balancer *b)
{
    while (!list_empty(&b->by_age)) {
        forget(b, LIST_ENTRY(b->by_age.next, struct client, link));
    }
}

void balancer_deinit(struct balancer *b)
{
    forget_all(b);
    map_deinit(&b->clients);
    free(b->endpoints);
    *b = (struct balancer){ 0 };
}

void balancer_set(struct balancer *b, const struct proxy_endpoint *e, size_t n, uint32_t affinity_seconds)
{
    struct proxy_endpoint *copy = n ? malloc(n * sizeof(*copy)) : NULL;
    if (n && !copy) {
        abort();
    }
    if (n) {
        memcpy(copy, e, n * sizeof(*copy));
    }
    free(b->endpoints);
    b->endpoints = copy;
    b->n = n;
    b->next = n ? b->next % n : 0;
    b->seconds = affinity_seconds;
    if (!affinity_seconds) {
        forget_all(b);
    }
}

static bool has(const struct balancer *b, const struct proxy_endpoint *e)
{
    for (size_t i = 0; i < b->n; i++) {
        if (memcmp(&b->endpoints[i], e, sizeof(*e)) == 0) {
            return true;
        }
    }
    return false;
}

static struct client *remember(struct balancer *b, const struct proxy_addr *addr)
{
    if (b->clients.n >= BALANCER_CLIENTS_MAX) {
        forget(b, LIST_ENTRY(b->by_age.next, struct client, link));
    }
    struct client *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    c->addr = *addr;
    list_init(&c->link);
    map_put(&b->clients, key_of(addr), c);
    return c;
}

bool balancer_next(struct balancer *b, uint64_t now_ms, const struct proxy_addr *client, bool again, struct proxy_endpoint *ret)
{
    const uint64_t most_ms = (uint64_t)b->seconds * 1000;
    struct client *c = b->seconds ? map_get(&b->clients, key_of(client)) : NULL;
    while (!list_empty(&b->by_age)) {
        struct client *oldest = LIST_ENTRY(b->by_age.next, struct client, link);
        if (now_ms - oldest->used_ms < most_ms) {
            break;
        }
        c = oldest == c ? NULL : c;
        forget(b, oldest);
    }
    if (!b->n) {
        return false;
    }
    if (!c || again || !has(b, &c->endpoint)) {
        *ret = b->endpoints[b->next];
        b->next = (b->next + 1) % b->n;
    } else {
        *ret = c->endpoint;
    }
    if (b->seconds) {
        c = c ? c : remember(b, client);
        c->endpoint = *ret;
        c->used_ms = now_ms;
        list_remove(&c->link);
        list_push_back(&b->by_age, &c->link);
    }
    return true;
}
