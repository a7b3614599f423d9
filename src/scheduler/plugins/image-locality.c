/* ImageLocality: prefers nodes that have the pod's images already, weighed by how far an image is
 * spread. */
#include "scheduler/plugins/plugins.h"

#define LEAST_BYTES (23LL << 20)
#define MOST_BYTES_PER_CONTAINER (1000LL << 20)

/* "nginx" is what a node lists as "docker.io/library/nginx:latest". */
static bool same_image(struct arena *a, struct str wanted, struct str listed)
{
    if (str_eq(wanted, listed)) {
        return true;
    }
    if (str_find_char(str_sub(wanted, (size_t)(str_rfind_char(wanted, '/') + 1), SIZE_MAX), ':') <
            0 &&
        str_find_char(wanted, '@') < 0) {
        wanted = arena_printf(a, "%.*s:latest", STR_ARG(wanted));
    }
    return str_eq(wanted, listed);
}

static int64_t image_bytes(struct cycle *c, const struct core_v1_node *node, struct str image)
{
    for (size_t i = 0; i < node->status.n_images; i++) {
        for (size_t k = 0; k < node->status.images[i].n_names; k++) {
            if (same_image(c->arena, image, node->status.images[i].names[k])) {
                return node->status.images[i].size_bytes;
            }
        }
    }
    return 0;
}

static enum sched_verdict pre_score(struct cycle *c, void **state UNUSED,
                                    struct node_info *const *nodes, size_t n_nodes)
{
    /* Images smaller than the least size never count: a look at the first nodes saves the work on
     * clusters of small images. */
    for (size_t k = 0; k < n_nodes; k++) {
        for (size_t i = 0; i < nodes[k]->node->status.n_images; i++) {
            if (nodes[k]->node->status.images[i].size_bytes > LEAST_BYTES) {
                return c->pod->pod->spec.n_containers ? SCHED_OK : SCHED_SKIP;
            }
        }
    }
    return SCHED_SKIP;
}

static int64_t score(struct cycle *c, void *state UNUSED, const struct node_info *n)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    int64_t sum = 0, most = MOST_BYTES_PER_CONTAINER * (int64_t)spec->n_containers;
    for (size_t i = 0; i < spec->n_containers; i++) {
        sum += image_bytes(c, n->node, spec->containers[i].image);
    }
    sum = MIN(MAX(sum, LEAST_BYTES), most);
    return SCHED_SCORE_MAX * (sum - LEAST_BYTES) / (most - LEAST_BYTES);
}

const struct sched_plugin plugin_image_locality = {
    .name = "ImageLocality",
    .weight = 1,
    .pre_score = pre_score,
    .score = score,
};
