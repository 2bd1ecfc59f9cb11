/* fsbench: limits of the file system in plain C.
 *  create DIR N DIRS THREADS MODE   4 KiB files: open(tmp) write futimens
 *         [fsync] close rename. MODE: plain | fsync | syncfs (one at the end)
 *  walk DIR        readdir + stat of each file, one thread (a no-change scan)
 *  readall DIR     open + read each file, one thread
 * prints: seconds ops */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
static char *dir;
static int n, dirs, threads, mode;
static char block[4096];
static void *creator(void *arg) {
    long k = (long)arg;
    char a[4096], b[4096];
    for (int i = k; i < n; i += threads) {
        snprintf(a, sizeof a, "%s/d%04d/.t%06d", dir, i % dirs, i);
        snprintf(b, sizeof b, "%s/d%04d/f%06d", dir, i % dirs, i);
        int fd = open(a, O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (fd < 0) {
            perror(a);
            exit(1);
        }
        if (write(fd, block, sizeof block) != sizeof block) {
            perror("write");
            exit(1);
        }
        struct timespec ts[2] = {{0, UTIME_OMIT}, {1700000000, 5}};
        futimens(fd, ts);
        if (mode == 1) fsync(fd);
        close(fd);
        if (rename(a, b)) {
            perror("rename");
            exit(1);
        }
    }
    return 0;
}
static long ops;
static int want_read;
static char *rbuf;
static void walk(int dfd) {
    DIR *d = fdopendir(dfd);
    struct dirent *e;
    struct stat st;
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.' && (!e->d_name[1] || (e->d_name[1] == '.' && !e->d_name[2]))) continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue;
        ops++;
        if (S_ISDIR(st.st_mode))
            walk(openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY));
        else if (want_read) {
            int fd = openat(dirfd(d), e->d_name, O_RDONLY);
            while (read(fd, rbuf, 1 << 20) > 0) {
            }
            close(fd);
        }
    }
    closedir(d);
}
int main(int c, char **v) {
    if (c < 3) return 2;
    dir = v[2];
    double t;
    if (!strcmp(v[1], "create")) {
        n = atoi(v[3]);
        dirs = atoi(v[4]);
        threads = atoi(v[5]);
        mode = !strcmp(v[6], "fsync") ? 1 : !strcmp(v[6], "syncfs") ? 2 : 0;
        memset(block, 0x5a, sizeof block);
        t = now();
        for (int i = 0; i < dirs; i++) {
            char p[4096];
            snprintf(p, sizeof p, "%s/d%04d", dir, i);
            mkdir(p, 0755);
        }
        pthread_t th[64];
        for (long k = 0; k < threads; k++)
            pthread_create(&th[k], 0, creator, (void *)k);
        for (long k = 0; k < threads; k++)
            pthread_join(th[k], 0);
        if (mode == 2) {
            int fd = open(dir, O_RDONLY);
            syncfs(fd);
            close(fd);
        }
        printf("%.4f %d\n", now() - t, n);
    } else {
        want_read = !strcmp(v[1], "readall");
        rbuf = malloc(1 << 20);
        t = now();
        walk(open(dir, O_RDONLY | O_DIRECTORY));
        printf("%.4f %ld\n", now() - t, ops);
    }
    return 0;
}
