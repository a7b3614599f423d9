#include "base/test.h"
#include "tunnel/known-hosts.h"

/* Keys and hashed names made by ssh-keygen. */
#define ED "AAAAC3NzaC1lZDI1NTE5AAAAIOWHSDH+BxpymTI1kJJO1TJe3NY0H7zmkbBYpPzNOqMy"
#define EC "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBAmLREMDTL1hKJ2sEP7yWEfid3A8HSFkYQrfqgQzVmJlnOE823PiDfwdndxmn8jlcV+ZQ0eyIADgAHG7ucPVbgU="
#define HASHED "|1|YZ6k9hHpkqHBnLGoJNbltuG4QFc=|9xIyVNlL4az12pAH3EfEl/ertgk="
#define HASHED_PORT "|1|gHvvDRCkDJij35Ic9at1GxqRk2o=|h2zYhDjF8CWGmJdOqDcY5s0Kayk="

static struct str blob_of(const char *line)
{
    static struct buf b[4];
    static unsigned next;
    struct buf *mine = &b[next++ % 4];
    struct str type;
    buf_deinit(mine);
    buf_init(mine, 8192);
    CHECK(known_key_parse(str_c(line), &type, mine));
    return buf_str(mine);
}

static enum known_verdict check(const char *file, const char *name, struct str key)
{
    struct err err;
    struct known_hosts *k = known_hosts_parse(str_c(file), &err);
    CHECK(k);
    struct str names[] = { str_c(name) };
    enum known_verdict v = known_hosts_check(k, names, 1, key);
    known_hosts_free(k);
    return v;
}

TEST(host_keys_are_found_by_name_pattern_hash_and_port)
{
    struct str ed = blob_of("ssh-ed25519 " ED " comment"), ec = blob_of("ecdsa-sha2-nistp256 " EC);
    CHECK_INT(check("10.0.0.1,node-1 ssh-ed25519 " ED " x\n", "node-1", ed), KNOWN_SAME);
    CHECK_INT(check("10.0.0.1,node-1 ssh-ed25519 " ED "\n", "NODE-1", ed), KNOWN_SAME);
    CHECK_INT(check("10.0.0.1 ssh-ed25519 " ED "\n", "10.0.0.1", ec), KNOWN_OTHER);
    CHECK_INT(check("10.0.0.1 ssh-ed25519 " ED "\n", "10.0.0.2", ed), KNOWN_NOTHING);
    CHECK_INT(check("10.0.0.* ssh-ed25519 " ED "\n", "10.0.0.2", ed), KNOWN_SAME);
    CHECK_INT(check("10.0.0.*,!10.0.0.2 ssh-ed25519 " ED "\n", "10.0.0.2", ed), KNOWN_NOTHING);
    CHECK_INT(check(HASHED " ssh-ed25519 " ED "\n", "10.0.0.1", ed), KNOWN_SAME);
    CHECK_INT(check(HASHED " ssh-ed25519 " ED "\n", "10.0.0.2", ed), KNOWN_NOTHING);
    CHECK_INT(check(HASHED_PORT " ssh-ed25519 " ED "\n", "[10.0.0.1]:2222", ed), KNOWN_SAME);
    CHECK_INT(check(HASHED_PORT " ssh-ed25519 " ED "\n", "10.0.0.1", ed), KNOWN_NOTHING);
    CHECK_INT(check("[10.0.0.1]:2222 ssh-ed25519 " ED "\n", "[10.0.0.1]:2222", ed), KNOWN_SAME);
    /* several lines: any of them */
    CHECK_INT(check("h ssh-ed25519 " ED "\nh ecdsa-sha2-nistp256 " EC "\n", "h", ec), KNOWN_SAME);
}

TEST(a_revoked_key_is_refused_wherever_its_line_stands)
{
    struct str ed = blob_of("ssh-ed25519 " ED), ec = blob_of("ecdsa-sha2-nistp256 " EC);
    CHECK_INT(check("h ssh-ed25519 " ED "\n@revoked * ssh-ed25519 " ED "\n", "h", ed), KNOWN_REVOKED);
    CHECK_INT(check("@revoked * ssh-ed25519 " ED "\nh ssh-ed25519 " ED "\n", "h", ed), KNOWN_REVOKED);
    CHECK_INT(check("@revoked * ssh-ed25519 " ED "\nh ecdsa-sha2-nistp256 " EC "\n", "h", ec), KNOWN_SAME);
    CHECK_INT(check("@cert-authority * ssh-ed25519 " ED "\n", "h", ed), KNOWN_NOTHING);
}

TEST(lines_that_say_two_things_are_skipped_and_counted)
{
    struct err err;
    /* another type than the blob's; broken base64; no key; a hash that is none; a comment is no bad line */
    struct known_hosts *k = known_hosts_parse(STR("# c\n\nh ssh-rsa " ED "\nh ssh-ed25519 AAA*\nh\n|1|x|y ssh-ed25519 " ED
                                                  "\nok ssh-ed25519 " ED "\n"), &err);
    CHECK(k);
    CHECK_INT(known_hosts_count(k), 1);
    CHECK_INT(known_hosts_bad_lines(k), 4);
    known_hosts_free(k);
}

TEST(the_servers_is_asked_for_key_types_that_are_known)
{
    struct err err;
    struct str types[4], names[] = { STR("h") };
    struct known_hosts *k = known_hosts_parse(STR("h ecdsa-sha2-nistp256 " EC "\nh ssh-ed25519 " ED "\nother ssh-ed25519 " ED
                                                  "\nh ssh-ed25519 " ED "\n@revoked h ssh-ed25519 " ED "\n"), &err);
    CHECK_INT(known_hosts_types(k, names, 1, types, 4), 2);
    CHECK_STR_C(types[0], "ecdsa-sha2-nistp256");
    CHECK_STR_C(types[1], "ssh-ed25519");
    known_hosts_free(k);
}

TEST(names_of_other_ports_stand_in_brackets)
{
    char dst[KNOWN_NAME_SIZE];
    CHECK_STR_C(known_name(STR("10.0.0.1"), 22, dst), "10.0.0.1");
    CHECK_STR_C(known_name(STR("fd00::1"), 2222, dst), "[fd00::1]:2222");
}

TEST(a_host_is_pinned_once_and_others_stay)
{
    CLEANUP(buf_deinit) struct buf b, c;
    struct err err;
    buf_init(&b, 65536);
    buf_init(&c, 65536);
    CHECK_OK(known_hosts_pin(STR("# mine\nh ssh-ed25519 old\nh ecdsa-sha2-nistp256 " EC), STR("h"), STR("ssh-ed25519 " ED " root@h\n"), &b, &err), &err);
    CHECK_STR_C(buf_str(&b), "# mine\nh ecdsa-sha2-nistp256 " EC "\nh ssh-ed25519 " ED "\n");
    CHECK_OK(known_hosts_pin(buf_str(&b), STR("h"), STR("ssh-ed25519 " ED), &c, &err), &err);
    CHECK_STR(buf_str(&c), buf_str(&b));
    CHECK(!known_hosts_pin(STR(""), STR("*"), STR("ssh-ed25519 " ED), &c, &err));
    CHECK(!known_hosts_pin(STR(""), STR("h\nx"), STR("ssh-ed25519 " ED), &c, &err));
    CHECK(!known_hosts_pin(STR(""), STR("h"), STR("ssh-rsa " ED), &c, &err));
}
