/*
 * pause: the first process of every pod. It holds the pod's namespaces open, reaps what is orphaned to it when the pod shares
 * its pid namespace, and ends on SIGTERM or SIGINT. No libc: the whole image is a few hundred bytes of code.
 *
 * Signals are blocked and waited for (rt_sigtimedwait), so that no handler is needed and none can be missed.
 */

enum { SIG_INT = 2, SIG_TERM = 15, SIG_CHLD = 17, SIG_BLOCK_ = 0, WNOHANG_ = 1 };

#if defined(__x86_64__)
enum { NR_SIGPROCMASK = 14, NR_WAIT4 = 61, NR_EXIT = 60, NR_SIGTIMEDWAIT = 128 };

static long call4(long nr, long a, long b, long c, long d)
{
    long r;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return r;
}
#elif defined(__aarch64__)
enum { NR_SIGPROCMASK = 135, NR_WAIT4 = 260, NR_EXIT = 93, NR_SIGTIMEDWAIT = 137 };

static long call4(long nr, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#elif defined(__riscv) && __riscv_xlen == 64
enum { NR_SIGPROCMASK = 135, NR_WAIT4 = 260, NR_EXIT = 93, NR_SIGTIMEDWAIT = 137 };

static long call4(long nr, long a, long b, long c, long d)
{
    register long a7 __asm__("a7") = nr;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3) : "memory");
    return a0;
}
#else
#error "pause has no system calls for this machine: add its four numbers and call4()"
#endif

void _start(void);

void _start(void)
{
    static const unsigned long wanted = 1ul << (SIG_INT - 1) | 1ul << (SIG_TERM - 1) | 1ul << (SIG_CHLD - 1);
    call4(NR_SIGPROCMASK, SIG_BLOCK_, (long)&wanted, 0, sizeof(wanted));
    for (;;) {
        long sig = call4(NR_SIGTIMEDWAIT, (long)&wanted, 0, 0, sizeof(wanted));
        if (sig == SIG_TERM || sig == SIG_INT) {
            call4(NR_EXIT, 0, 0, 0, 0);
        }
        while (sig == SIG_CHLD && call4(NR_WAIT4, -1, 0, WNOHANG_, 0) > 0) {
        }
    }
}
