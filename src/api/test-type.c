#include "api/gen/core_v1.h"
#include "api/gen/cri_v1.h"
#include "api/gen/apps_v1.h"
#include "base/test.h"

TEST(types_are_found_by_name_and_sorted)
{
    CHECK(api_type_find(STR("core.v1.Pod")) == &core_v1_pod_type);
    CHECK(api_type_find(STR("core.v1.Nothing")) == NULL);
    for (size_t i = 1; i < api_n_types; i++) {
        CHECK(str_cmp(api_types[i - 1]->name, api_types[i]->name) < 0);
    }
}

TEST(every_json_field_is_found_through_its_hash)
{
    for (size_t i = 0; i < api_n_types; i++) {
        const struct api_type *t = api_types[i];

        for (int k = 0; k < t->n_flat; k++) {
            CHECK_INT(api_flat_find(t, t->flat[k].field->name), k);
        }
        CHECK_INT(api_flat_find(t, STR("noSuchField")), -1);
        CHECK_INT(api_flat_find(t, STR("")), -1);
    }
}

TEST(every_protobuf_number_leads_to_its_field)
{
    for (size_t i = 0; i < api_n_types; i++) {
        const struct api_type *t = api_types[i];

        for (int k = 0; k < t->n_by_number; k++) {
            const struct api_field *f = &t->fields[t->by_number[k]];

            CHECK_INT(t->number_index[f->number] - 1, t->by_number[k]);
            CHECK(f->number <= t->max_number);
        }
    }
}

TEST(fields_of_inline_messages_have_the_outer_offset)
{
    size_t off = 0;
    const struct api_field *f = api_field_find(&core_v1_volume_type, STR("configMap"), &off);

    CHECK(f != NULL && f->message == &core_v1_config_map_volume_source_type);
    CHECK_INT(off, offsetof(struct core_v1_volume, volume_source.config_map));
}

TEST(facts_of_a_list_map_are_kept)
{
    const struct api_field *f = api_field_find(&core_v1_container_type, STR("ports"), NULL);

    CHECK(f != NULL && f->listmap == API_LM_MAP && (f->flags & API_F_PATCH_MERGE));
    CHECK_STR_C(f->facts->keys[0], "containerPort");
    CHECK_STR_C(f->facts->keys[1], "protocol");
    CHECK(f->facts->keys[2].ptr == NULL);
    CHECK_STR_C(f->facts->patch_key, "containerPort");
}

TEST(resources_are_found_and_know_their_types)
{
    const struct api_resource *r = api_resource_find(STR("apps"), STR("v1"), STR("deployments"));

    CHECK(r != NULL && r->type == &apps_v1_deployment_type && r->list_type == &apps_v1_deployment_list_type);
    CHECK(r->namespaced && r->default_on);
    CHECK_STR_C(r->etcd_prefix, "/registry/deployments");
    CHECK_STR_C(r->short_names[0], "deploy");
    CHECK_STR_C(r->subresources[0].name, "scale");
    CHECK_STR_C(r->subresources[0].kind, "autoscaling/v1.Scale");
    CHECK(r->n_columns > 0);
    CHECK(api_resource_of_kind(STR(""), STR("v1"), STR("Pod"))->type == &core_v1_pod_type);
    CHECK(api_resource_find(STR("apps"), STR("v1"), STR("pods")) == NULL);
}

TEST(rpcs_know_path_and_messages)
{
    CHECK_STR_C(cri_v1_runtime_service_version_rpc.path, "/runtime.v1.RuntimeService/Version");
    CHECK(cri_v1_runtime_service_get_container_events_rpc.server_streams);
    CHECK(cri_v1_runtime_service_version_rpc.request == &cri_v1_version_request_type);
}

TEST(types_are_found_by_what_objects_say_of_themselves)
{
    CHECK(api_type_of_kind(STR("v1"), STR("Pod")) == &core_v1_pod_type);
    CHECK(api_type_of_kind(STR("apps/v1"), STR("DeploymentList")) == &apps_v1_deployment_list_type);
    CHECK(str_eq(api_type_of_kind(STR("v1"), STR("Status"))->name, STR("meta.v1.Status")));
    CHECK(str_eq(api_type_of_kind(STR("apps/v1"), STR("DeleteOptions"))->name, STR("meta.v1.DeleteOptions")));
    CHECK(str_eq(api_type_of_kind(STR("meta.k8s.io/v1"), STR("Table"))->name, STR("meta.v1.Table")));
    CHECK(str_eq(api_type_of_kind(STR("policy/v1"), STR("Eviction"))->name, STR("policy.v1.Eviction")));
    CHECK(api_type_of_kind(STR("example.com/v1"), STR("Widget")) == NULL);
    CHECK(api_type_of_kind(STR("apps/v2"), STR("Deployment")) == NULL);
}
