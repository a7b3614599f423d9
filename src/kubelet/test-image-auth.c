#include "kubelet/image-auth.h"

#include "base/test.h"

static void split(const char *image, const char *host, const char *path)
{
    struct str h, p;
    image_name_split(str_c(image), &h, &p);
    CHECK_STR_C(h, host);
    CHECK_STR_C(p, path);
}

TEST(image_names_are_taken_apart)
{
    split("nginx", "docker.io", "nginx");
    split("team/app:1", "docker.io", "team/app");
    split("localhost/a", "localhost", "a");
    split("reg.example:5000/a/b:2@sha256:abc", "reg.example:5000", "a/b");
}

static struct str user_for(struct arena *a, const char *json, const char *image)
{
    struct api_str_pair data = { STR(".dockerconfigjson"), str_c(json) };
    const struct core_v1_secret s = { .data = &data, .n_data = 1 };
    struct cri_v1_auth_config c;
    return image_auth_find(a, &s, str_c(image), &c) ? c.username : STR("-");
}

TEST(the_longest_matching_key_gives_the_credentials)
{
    static const char json[] = "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"aHViOnB3\"},\"reg.example\":{\"username\":\"all\",\"password\":\"x\"},"
                               "\"reg.example/team\":{\"username\":\"team\",\"password\":\"x\"},\"*.wild.example\":{\"username\":\"wild\",\"password\":\"x\"},"
                               "\"ported.example:5000\":{\"username\":\"ported\",\"password\":\"x\"}}}";
    struct arena a;
    arena_init(&a, 1u << 20);
    CHECK_STR_C(user_for(&a, json, "nginx:1"), "hub");
    CHECK_STR_C(user_for(&a, json, "reg.example/other/app"), "all");
    CHECK_STR_C(user_for(&a, json, "reg.example/team/app:3"), "team");
    CHECK_STR_C(user_for(&a, json, "reg.example/teamwork/app"), "all");
    CHECK_STR_C(user_for(&a, json, "a.wild.example/x"), "wild");
    CHECK_STR_C(user_for(&a, json, "a.b.wild.example/x"), "-");
    CHECK_STR_C(user_for(&a, json, "wild.example/x"), "-");
    CHECK_STR_C(user_for(&a, json, "ported.example/x"), "-");
    CHECK_STR_C(user_for(&a, json, "ported.example:5000/x"), "ported");
    CHECK_STR_C(user_for(&a, "not json", "nginx"), "-");
    arena_deinit(&a);
}
