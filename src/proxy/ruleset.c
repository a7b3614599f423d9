#include "proxy/ruleset.h"

#include <stdlib.h>

#include "proxy/ruleset-private.h"

void *rules_alloc(size_t n)
{
    void *p = calloc(1, MAX(n, (size_t)1));
    if (!p) {
        abort();
    }
    return p;
}

void rules_enqueue(struct state **queue, struct state *s)
{
    if (!s->queued) {
        s->queued = true;
        s->next = *queue;
        *queue = s;
    }
}

struct str rules_bytes(const void *p, size_t n)
{
    return str_n(p, n);
}

struct ruleset *ruleset_new(const struct ruleset_config *config)
{
    struct ruleset *rs = rules_alloc(sizeof(*rs));
    rs->config = *config;
    rs->next_id = 1;
    map_init(&rs->services);
    map_init(&rs->elements);
    map_init(&rs->chains);
    map_init(&rs->lists);
    map_init(&rs->firewalls);
    return rs;
}

void rules_free_list(struct list_state *l)
{
    free((void *)(uintptr_t)l->want.endpoints);
    free((void *)(uintptr_t)l->has.endpoints);
    free(l->port);
    free(l);
}

void rules_free_firewall(struct firewall *f)
{
    free((void *)(uintptr_t)f->f.sources);
    free(f);
}

void rules_free_service(struct service *s)
{
    free(s->key);
    free(s->elements);
    free(s->lists);
    free(s->firewalls);
    free(s);
}

void rules_free_element(struct element *e)
{
    if (e->has != e->want) {
        free(e->has);
    }
    free(e->want);
    free(e);
}

struct ruleset *ruleset_free(struct ruleset *rs)
{
    struct str key;
    void *value;
    if (!rs) {
        return NULL;
    }
    for (size_t pos = 0; map_next(&rs->services, &pos, &key, &value);) {
        rules_free_service(value);
    }
    for (size_t pos = 0; map_next(&rs->elements, &pos, &key, &value);) {
        rules_free_element(value);
    }
    for (size_t pos = 0; map_next(&rs->chains, &pos, &key, &value);) {
        free(value);
    }
    for (size_t pos = 0; map_next(&rs->lists, &pos, &key, &value);) {
        rules_free_list(value);
    }
    for (size_t pos = 0; map_next(&rs->firewalls, &pos, &key, &value);) {
        rules_free_firewall(value);
    }
    map_deinit(&rs->services);
    map_deinit(&rs->elements);
    map_deinit(&rs->chains);
    map_deinit(&rs->lists);
    map_deinit(&rs->firewalls);
    free(rs->zone);
    free(rs);
    return NULL;
}

bool ruleset_set_zone(struct ruleset *rs, struct str zone)
{
    if (str_eq(str_c(rs->zone), zone)) {
        return false;
    }
    free(rs->zone);
    rs->zone = rules_alloc(zone.len + 1);
    if (zone.len) {
        memcpy(rs->zone, zone.ptr, zone.len);
    }
    return true;
}

void ruleset_take_waiting(struct ruleset *rs, void (*fn)(void *data, struct str key), void *data)
{
    struct str key;
    void *value;
    if (rs->freed && rs->n_waiting) {
        for (size_t pos = 0; map_next(&rs->services, &pos, &key, &value);) {
            if (((struct service *)value)->waiting) {
                fn(data, key);
            }
        }
    }
    rs->freed = false;
}

uint8_t ruleset_family(const struct ruleset *rs)
{
    return rs->config.table.family;
}

bool ruleset_has_health(const struct ruleset *rs, struct str key)
{
    const struct service *s = map_get(&rs->services, key);
    return s && s->health_port;
}

bool ruleset_next_health(const struct ruleset *rs, size_t *pos, struct ruleset_health *ret)
{
    struct str key;
    void *value;
    while (map_next(&rs->services, pos, &key, &value)) {
        const struct service *s = value;
        if (s->health_port) {
            *ret = (struct ruleset_health){ .key = key,
                                            .port = s->health_port,
                                            .n_local = s->n_local_ready };
            return true;
        }
    }
    return false;
}

void ruleset_stats(const struct ruleset *rs, struct ruleset_stats *ret)
{
    *ret = (struct ruleset_stats){ .services = rs->services.n,
                                   .service_ports = rs->n_service_ports,
                                   .endpoints = rs->n_endpoints,
                                   .elements = rs->elements.n };
}
