#include "controllers/pod-disrupted.h"

#include "base/clock.h"

void pod_tell_disrupted(struct actions *a, const struct api_resource *pods, const struct core_v1_pod *p, const char *reason,
                        const char *message, bool over)
{
    struct arena *arena = act_arena(a);
    char now[CLOCK_RFC3339_SIZE];
    struct str condition = STR_EMPTY;
    clock_format_rfc3339(act_now(a), 0, 0, now);
    if (reason) {
        condition = arena_printf(arena,
                                 "\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"%s\",\"message\":\"%s\","
                                 "\"lastTransitionTime\":\"%s\"}]",
                                 reason, message, now);
    }
    struct str patch = arena_printf(arena, "{\"metadata\":{\"uid\":\"%.*s\"},\"status\":{%s%.*s}}", STR_ARG(p->metadata.uid),
                                    over ? reason ? "\"phase\":\"Failed\"," : "\"phase\":\"Failed\"" : "", STR_ARG(condition));
    act_patch(a, pods, p->metadata.namespace, p->metadata.name, "status", CLIENT_PATCH_STRATEGIC, patch);
    act_tolerate(a, ERR_NOT_FOUND);
}
