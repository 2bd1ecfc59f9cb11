/* delaybox NS_A NS_B DELAY_MS MBIT QUEUE_KB
 * A netem for kernels without netem: two TUN devices "wan0", one in each
 * network namespace (10.98.0.1 / 10.98.0.2), joined through this process:
 * each packet waits for its turn at MBIT Mbit/s (drop tail queue of
 * QUEUE_KB), then DELAY_MS one way. Prints "ready", runs till killed. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#define RING 65536
struct pkt {
    uint64_t due;
    uint64_t tx_done;
    int len;
    char *p;
};
struct dir {
    int in, out;
    struct pkt *ring;
    unsigned head, tail;
    uint64_t free_at;
    unsigned long drops, bytes;
};
static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static int mk(const char *name) {
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    struct ifreq r;
    memset(&r, 0, sizeof r);
    r.ifr_flags = IFF_TUN | IFF_NO_PI;
    strncpy(r.ifr_name, name, IFNAMSIZ - 1);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &r)) {
        perror("tun");
        exit(1);
    }
    return fd;
}
static void sh(const char *f, const char *a, const char *b) {
    char c[512];
    snprintf(c, sizeof c, f, a, b);
    if (system(c)) {
        fprintf(stderr, "failed: %s\n", c);
        exit(1);
    }
}
int main(int c, char **v) {
    if (c < 6) return 2;
    prctl(PR_SET_TIMERSLACK, 1000);
    uint64_t delay = (uint64_t)(atof(v[3]) * 1e6);
    double nsbyte = 8e3 / atof(v[4]);
    uint64_t qns = (uint64_t)(atof(v[5]) * 1024 * nsbyte);
    char an[16], bn[16];
    snprintf(an, 16, "dbA%d", getpid() % 100000);
    snprintf(bn, 16, "dbB%d", getpid() % 100000);
    int fa = mk(an), fb = mk(bn);
    sh("ip link set %s netns %s name wan0", an, v[1]);
    sh("ip link set %s netns %s name wan0", bn, v[2]);
    sh("ip -n %s addr add 10.98.0.1/24 dev wan0%s", v[1], "");
    sh("ip -n %s addr add 10.98.0.2/24 dev wan0%s", v[2], "");
    sh("ip -n %s link set wan0 up%s", v[1], "");
    sh("ip -n %s link set wan0 up%s", v[2], "");
    sh("ip -n %s link set wan0 txqueuelen 10000%s", v[1], "");
    sh("ip -n %s link set wan0 txqueuelen 10000%s", v[2], "");
    struct dir d[2] = {{.in = fa, .out = fb}, {.in = fb, .out = fa}};
    for (int i = 0; i < 2; i++) {
        d[i].ring = calloc(RING, sizeof(struct pkt));
        for (int k = 0; k < RING; k++)
            d[i].ring[k].p = 0;
    }
    puts("ready");
    fflush(stdout);
    char buf[65536];
    for (;;) {
        uint64_t t = now(), next = t + 1000000000ull;
        for (int i = 0; i < 2; i++) {
            struct dir *x = &d[i];
            while (x->head != x->tail) {
                struct pkt *k = &x->ring[x->tail % RING];
                if (k->due > t) {
                    if (k->due < next) next = k->due;
                    break;
                }
                if (write(x->out, k->p, k->len) < 0) {
                }
                free(k->p);
                k->p = 0;
                x->tail++;
            }
        }
        struct pollfd p[2] = {{fa, POLLIN, 0}, {fb, POLLIN, 0}};
        struct timespec ts;
        uint64_t w = next > t ? next - t : 0;
        ts.tv_sec = w / 1000000000ull;
        ts.tv_nsec = w % 1000000000ull;
        if (ppoll(p, 2, &ts, 0) <= 0) continue;
        for (int i = 0; i < 2; i++)
            for (int burst = 0; burst < 64; burst++) {
                struct dir *x = &d[i];
                ssize_t r = read(x->in, buf, sizeof buf);
                if (r <= 0) break;
                t = now();
                if (x->free_at < t) x->free_at = t;
                if (x->free_at - t > qns || x->head - x->tail >= RING) {
                    x->drops++;
                    continue;
                }
                x->free_at += (uint64_t)(r * nsbyte);
                x->bytes += r;
                struct pkt *k = &x->ring[x->head % RING];
                k->len = r;
                k->p = malloc(r);
                memcpy(k->p, buf, r);
                k->due = x->free_at + delay;
                x->head++;
            }
    }
}
