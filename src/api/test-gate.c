#include "api/gate.h"
#include "api/gen/coordination_v1.h"
#include "api/gen/core_v1.h"
#include "base/err.h"
#include "base/test.h"

TEST(gates_are_sorted_and_found)
{
    for (size_t i = 0; i < api_n_gates; i++) {
        CHECK(api_gate_find(api_gates[i].name) == &api_gates[i]);
    }
    CHECK(api_gate_find(STR("NoSuchGate")) == NULL);
}

TEST(every_gate_of_the_schema_is_known)
{
    for (size_t i = 0; i < api_n_types; i++) {
        for (unsigned k = 0; k < api_types[i]->n_fields; k++) {
            struct str rest = api_types[i]->fields[k].facts->gate, gate;

            while (rest.ptr && str_split(&rest, ',', &gate)) {
                CHECK(api_gate_find(gate) != NULL);
            }
        }
    }
}

TEST(a_gate_is_set_unless_it_is_locked)
{
    struct api_gates_set s = { 0 };
    struct err err;

    CHECK(!api_gate_on(&s, STR("CoordinatedLeaderElection")));
    CHECK_OK(api_gate_set(&s, STR("CoordinatedLeaderElection"), true, &err), &err);
    CHECK(api_gate_on(&s, STR("CoordinatedLeaderElection")));
    CHECK(!api_gate_on(NULL, STR("CoordinatedLeaderElection")));
    CHECK(!api_gate_set(&s, STR("ImageVolume"), false, &err));
    CHECK_STR_C(str_c(err.msg), "cannot set feature gate ImageVolume to false, feature is locked to true");
    CHECK(!api_gate_set(&s, STR("Nothing"), true, &err));
}

TEST(fields_of_gates_that_are_off_go_unless_the_old_object_has_them)
{
    struct coordination_v1_lease lease = { .spec.strategy = STR("OldestEmulationVersion") }, old = lease;
    struct api_gates_set s = { 0 };

    api_drop_gated(&coordination_v1_lease_type, &lease, &old, NULL);
    CHECK(lease.spec.strategy.len > 0);
    CHECK(api_gate_set(&s, STR("CoordinatedLeaderElection"), true, NULL));
    api_drop_gated(&coordination_v1_lease_type, &lease, NULL, &s);
    CHECK(lease.spec.strategy.len > 0);
    api_drop_gated(&coordination_v1_lease_type, &lease, NULL, NULL);
    CHECK(lease.spec.strategy.ptr == NULL);
}
