/* How a DaemonSet rolls: at most maxUnavailable nodes without an available pod, or maxSurge nodes
 * with two ("Perform a Rolling Update on a DaemonSet"). */
#include "api/int-or-string.h"
#include "controllers/daemonset-private.h"

static int32_t scaled(const struct api_int_or_string *v, int32_t desired)
{
    int32_t n = 0;
    return ios_scaled(v, desired, true, &n, NULL) ? n : 0;
}

int32_t daemonset_max_surge(const daemon_set_t *ds, int32_t desired)
{
    const struct apps_v1_rolling_update_daemon_set *r = ds->spec.update_strategy.rolling_update;
    return r && !str_eq_c(ds->spec.update_strategy.type, "OnDelete")
               ? scaled(&r->max_surge, desired)
               : 0;
}

static int32_t max_unavailable(const daemon_set_t *ds, int32_t desired)
{
    const struct apps_v1_rolling_update_daemon_set *r = ds->spec.update_strategy.rolling_update;
    return r && r->max_unavailable.kind != API_IOS_UNSET ? scaled(&r->max_unavailable, desired) : 1;
}

/* The one pod of the present template and the one of an older. False: there are more, which the
 * pass after clears up. */
static bool pair_of(const struct daemon_pass *p, const struct daemon_node *node,
                    const struct core_v1_pod **ret_new, const struct core_v1_pod **ret_old)
{
    *ret_new = *ret_old = NULL;
    for (size_t i = 0; i < node->n; i++) {
        const struct core_v1_pod *pod = node->pods[i],
                                 **slot = daemon_is_updated(p, pod) ? ret_new : ret_old;
        if (pod->metadata.deletion_timestamp.set) {
            continue;
        }
        if (*slot) {
            return false;
        }
        *slot = pod;
    }
    return true;
}

/* Old pods go first: those that are not available at once, then others while enough nodes are
 * served. */
static void roll_by_deleting(struct daemon_pass *p, int32_t most)
{
    int32_t unavailable = 0;
    for (size_t i = 0; i < p->n_nodes; i++) {
        const struct core_v1_pod *new, *old;
        if (!p->nodes[i].should_run) {
            continue;
        }
        bool ok = pair_of(p, &p->nodes[i], &new, &old);
        unavailable += !ok || !new == !old || !daemon_is_available(p, new ? new : old);
    }
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < p->n_nodes; i++) {
            const struct core_v1_pod *new, *old;
            if (!p->nodes[i].should_run || !pair_of(p, &p->nodes[i], &new, &old) || new || !old) {
                continue;
            }
            bool available = daemon_is_available(p, old);
            if (round == 0 ? !available : available && unavailable < most) {
                daemon_delete_pod(p, old);
                unavailable += available;
            }
        }
    }
}

/* New pods come first, beside the old, which go once the new ones are available. */
static void roll_by_surging(struct daemon_pass *p, int32_t most)
{
    int32_t surging = 0;
    for (size_t i = 0; i < p->n_nodes; i++) {
        const struct core_v1_pod *new, *old;
        if (!p->nodes[i].should_run) {
            continue;
        }
        if (!pair_of(p, &p->nodes[i], &new, &old)) {
            surging++;
        } else if (new &&old && daemon_is_available(p, new)) {
            daemon_delete_pod(p, old);
        } else if (new &&old) {
            surging++;
        }
    }
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < p->n_nodes; i++) {
            const struct core_v1_pod *new, *old;
            if (!p->nodes[i].should_run || !pair_of(p, &p->nodes[i], &new, &old) || new || !old) {
                continue;
            }
            bool available = daemon_is_available(p, old);
            if (round == 0 ? !available : available && surging < most) {
                daemon_create_pod(p, p->nodes[i].name);
                surging += available;
            }
        }
    }
}

void daemonset_roll(struct daemon_pass *p)
{
    int32_t desired = 0;
    for (size_t i = 0; i < p->n_nodes; i++) {
        desired += p->nodes[i].should_run;
    }
    int32_t surge = daemonset_max_surge(p->ds, desired);
    if (str_eq_c(p->ds->spec.update_strategy.type, "OnDelete")) {
        return;
    }
    if (surge > 0) {
        roll_by_surging(p, surge);
    } else {
        roll_by_deleting(p, max_unavailable(p->ds, desired));
    }
}
