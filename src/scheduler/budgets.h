/* PodDisruptionBudgets, for who looks for victims: which pods could go, and how many of them, before a budget is broken. An engine. */
#ifndef SCHEDULER_BUDGETS_H
#define SCHEDULER_BUDGETS_H

#include "api/gen/core_v1.h"
#include "api/gen/policy_v1.h"
#include "base/map.h"

struct budgets {
    struct map by_namespace; /* -> struct budget, a chain */
    size_t n;
    uint64_t round;
};

void budgets_init(struct budgets *b);
void budgets_deinit(struct budgets *b);
/* Adds or changes one; copies what it needs. */
void budgets_put(struct budgets *b, const struct policy_v1_pod_disruption_budget *pdb);
void budgets_remove(struct budgets *b, struct str ns, struct str name);
/* Begins to count anew: nothing is taken off the budgets yet. */
void budgets_begin(struct budgets *b);
/* Takes the pod off every budget that selects it. True when one of them would not allow that. A pod whose eviction a budget has allowed
 * already takes nothing off it; a budget with no or an empty selector selects nothing here, as kube-scheduler has it. */
bool budgets_take(struct budgets *b, const struct core_v1_pod *pod);

#endif
