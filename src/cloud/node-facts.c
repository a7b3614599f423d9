#include "cloud/node-facts.h"

#include "api/json-writer.h"
#include "base/clock.h"
#include "cloud/ip.h"

const struct core_v1_node_condition *node_condition(const struct core_v1_node *n, const char *type)
{
    for (size_t i = 0; i < n->status.n_conditions; i++) {
        if (str_eq_c(n->status.conditions[i].type, type)) {
            return &n->status.conditions[i];
        }
    }
    return NULL;
}

bool node_is_ready(const struct core_v1_node *n)
{
    const struct core_v1_node_condition *ready = node_condition(n, "Ready");
    return ready && str_eq(ready->status, STR("True"));
}

bool node_has_taint(const struct core_v1_node *n, const char *key)
{
    for (size_t i = 0; i < n->spec.n_taints; i++) {
        if (str_eq_c(n->spec.taints[i].key, key)) {
            return true;
        }
    }
    return false;
}

struct str node_address(const struct core_v1_node *n, const char *type, int family)
{
    for (size_t i = 0; i < n->status.n_addresses; i++) {
        const struct core_v1_node_address *a = &n->status.addresses[i];
        struct ip ip;
        if (str_eq_c(a->type, type) && (!family || (ip_parse(a->address, &ip) && ip.family == family))) {
            return a->address;
        }
    }
    return STR_NULL;
}

static void write_taint(struct buf *b, bool first, const struct core_v1_taint *t)
{
    char added[CLOCK_RFC3339_SIZE];
    buf_append_c(b, first ? "{\"key\":" : ",{\"key\":");
    json_write_string(b, t->key);
    if (t->value.len) {
        buf_append_c(b, ",\"value\":");
        json_write_string(b, t->value);
    }
    buf_append_c(b, ",\"effect\":");
    json_write_string(b, t->effect);
    if (t->time_added.set) {
        clock_format_rfc3339(t->time_added.sec, 0, 0, added);
        buf_printf(b, ",\"timeAdded\":\"%s\"", added);
    }
    buf_append_char(b, '}');
}

void node_write_taints(struct buf *b, const struct core_v1_node *n, const char *drop, const char *add)
{
    bool first = true;
    buf_append_c(b, "\"taints\":[");
    for (size_t i = 0; i < n->spec.n_taints; i++) {
        if (!drop || !str_eq_c(n->spec.taints[i].key, drop)) {
            write_taint(b, first, &n->spec.taints[i]);
            first = false;
        }
    }
    if (add) {
        const struct core_v1_taint t = { .key = str_c(add), .effect = STR("NoSchedule") };
        write_taint(b, first, &t);
    }
    buf_append_char(b, ']');
}

void node_write_addresses(struct buf *b, const struct core_v1_node_address *list, size_t n)
{
    buf_append_c(b, "\"addresses\":[");
    for (size_t i = 0; i < n; i++) {
        buf_append_c(b, i ? ",{\"type\":" : "{\"type\":");
        json_write_string(b, list[i].type);
        buf_append_c(b, ",\"address\":");
        json_write_string(b, list[i].address);
        buf_append_char(b, '}');
    }
    buf_append_char(b, ']');
}

bool node_same_addresses(const struct core_v1_node_address *a, size_t n_a, const struct core_v1_node_address *b, size_t n_b)
{
    bool same = n_a == n_b;
    for (size_t i = 0; same && i < n_a; i++) {
        same = str_eq(a[i].type, b[i].type) && str_eq(a[i].address, b[i].address);
    }
    return same;
}
