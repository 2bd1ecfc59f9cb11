/* tcpbench: raw TCP limits.
 *  recv PORT sink|FILE [fsync]        accept one connection, read all, drop or write
 *  send IP PORT mem BYTES | file PATH   send (file: sendfile)
 *  one side prints: seconds bytes */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
int main(int c, char **v) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    int one = 1;
    size_t B = 1 << 20;
    char *buf = malloc(B);
    if (c >= 4 && !strcmp(v[1], "recv")) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        a.sin_port = htons(atoi(v[2]));
        if (bind(s, (void *)&a, sizeof a)) {
            perror("bind");
            return 1;
        }
        listen(s, 1);
        int k = accept(s, 0, 0);
        double t = now();
        size_t tot = 0;
        ssize_t r;
        int fd = strcmp(v[3], "sink") ? open(v[3], O_WRONLY | O_CREAT | O_TRUNC, 0644) : -1;
        while ((r = read(k, buf, B)) > 0) {
            tot += r;
            if (fd >= 0 && write(fd, buf, r) != r) {
                perror("write");
                return 1;
            }
        }
        if (fd >= 0 && c > 4) fsync(fd);
        printf("%.4f %zu\n", now() - t, tot);
    } else if (c >= 6 && !strcmp(v[1], "send")) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        a.sin_port = htons(atoi(v[3]));
        inet_pton(AF_INET, v[2], &a.sin_addr);
        if (connect(s, (void *)&a, sizeof a)) {
            perror("connect");
            return 1;
        }
        if (!strcmp(v[4], "mem")) {
            size_t n = strtoull(v[5], 0, 10);
            memset(buf, 7, B);
            while (n) {
                size_t k = n < B ? n : B;
                ssize_t r = write(s, buf, k);
                if (r <= 0) return 1;
                n -= r;
            }
        } else {
            int fd = open(v[5], O_RDONLY);
            struct stat st;
            fstat(fd, &st);
            off_t o = 0;
            while (o < st.st_size)
                if (sendfile(s, fd, &o, st.st_size - o) <= 0) return 1;
        }
        shutdown(s, SHUT_WR);
        while (read(s, buf, B) > 0) {
        }
    } else
        return 2;
    return 0;
}
