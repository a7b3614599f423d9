#include "cmd/cmd.h"

#include "base/log.h"
#include "cmd/absent-flags.h"
#include "kubelet/kubelet.h"

int kubelet_main(int argc, char **argv)
{
    static struct kubelet_config config;
    struct flag_section sections[KUBELET_FLAG_SECTIONS];
    struct flag_program program = { "kubelet", "Runs the pods of a node.", sections, KUBELET_FLAG_SECTIONS };
    struct flag_result flags;
    struct err err = { 0 };
    kubelet_flag_sections(&config, sections);
    program.why_absent = absent_flag;
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    if (!kubelet_config_load(&program, argc, argv, &config, &flags, &err)) {
        log_error("%s", err.msg);
        return 1;
    }
    config.secure = flags.secure;
    config.flags = &flags;
    return kubelet_run(&config);
}
