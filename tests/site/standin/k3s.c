/* A stand-in for k3s: a real ELF that starts, imports, notifies, refuses and fails as k3s does. Its log says STANDIN.
 *
 * Compiled with -DVERSION="v1.34.1+k3s1". Faults by environment variable, whose value is the version that shall fail:
 * STANDIN_FAIL (exit 1), STANDIN_HANG (never ready), STANDIN_CRASH (dies five seconds after it was ready).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const switches[] = {"--cluster-init", "--docker", "--debug", "--disable-agent", "--with-node-id",
                                       "--prefer-bundled-bin", "--selinux", "--embedded-registry", NULL};
static const char *const valued[] = {"--data-dir", "-d", "--disable", "--node-name", "--node-label", "--node-taint",
                                     "--node-ip", "--server", "-s", "--token-file", "--flannel-backend", "--tls-san",
                                     "--write-kubeconfig-mode", "--config", "-c", "--cluster-cidr", "--service-cidr",
                                     "--kubelet-arg", "--resolv-conf", NULL};
static volatile sig_atomic_t stopping;

static void on_term(int number) { (void)number; stopping = 1; }

static void fatal(const char *text, const char *detail) {
    fprintf(stderr, "level=fatal msg=\"STANDIN %s %s\"\n", text, detail);
    exit(1);
}

static int listed(const char *const *list, const char *word, size_t length) {
    for (; *list; list++)
        if (strlen(*list) == length && !strncmp(*list, word, length)) return 1;
    return 0;
}

static void notify(const char *message) {
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path) return;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int connection = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (*path == '@') address.sun_path[0] = 0;
    sendto(connection, message, strlen(message), 0, (void *)&address,
           offsetof(struct sockaddr_un, sun_path) + strlen(path));
    close(connection);
}

static int fault(const char *name) {
    const char *version = getenv(name);
    return version && !strcmp(version, VERSION);
}

static int minor_of(const char *version) {
    int major = 0, minor = 0;
    sscanf(version, "v%d.%d", &major, &minor);
    return major * 1000 + minor;
}

/* A newer minor release has written the datastore: an older one refuses it. */
static void check_database(const char *data_dir) {
    char path[4096], version[64] = "";
    snprintf(path, sizeof path, "%s/server/db/version", data_dir);
    FILE *file = fopen(path, "r");
    if (file) {
        while (fscanf(file, "%63s", version) == 1) {}
        fclose(file);
    }
    if (minor_of(version) > minor_of(VERSION)) fatal("refuses a datastore of the newer", version);
    file = fopen(path, "a");
    if (!file) fatal("cannot write", path);
    fprintf(file, "%s\n", VERSION);
    fclose(file);
}

static void check_yaml(const char *path) {
    char line[4096];
    FILE *file = fopen(path, "r");
    if (!file) return;
    struct stat status;
    if (fstat(fileno(file), &status) || status.st_uid != 0 || (status.st_mode & 022)) fatal("mistrusts", path);
    while (fgets(line, sizeof line, file))
        if (strchr(line, '\t')) fatal("found a tab in", path);
    fclose(file);
}

static int serve(const char *role, int count, char **words) {
    const char *data_dir = getenv("K3S_DATA_DIR");
    for (int i = 0; i < count; i++) {
        const char *equals = strchr(words[i], '=');
        size_t length = equals ? (size_t)(equals - words[i]) : strlen(words[i]);
        if (listed(switches, words[i], length)) continue;
        if (!listed(valued, words[i], length)) fatal("flag provided but not defined:", words[i]);
        const char *value = equals ? equals + 1 : (i + 1 < count ? words[++i] : "");
        if (length > 9 && !strncmp(words[i - !equals], "--data-dir", 10)) data_dir = value;
    }
    if (geteuid() != 0) fatal("must run as root", "");
    if (!data_dir || !*data_dir) data_dir = "/var/lib/rancher/k3s";
    if (!strcmp(role, "agent") && !getenv("K3S_TOKEN") && !getenv("K3S_TOKEN_FILE")) fatal("--token is required", "");
    check_yaml("/etc/rancher/k3s/config.yaml");
    check_yaml("/etc/rancher/k3s/registries.yaml");
    if (fault("STANDIN_FAIL")) fatal("was told to fail", VERSION);

    pid_t body = fork();
    if (body == 0) {
        execl("/bin/sh", "sh", "/opt/standin/start.sh", role, data_dir, (char *)NULL);
        _exit(127);
    }
    int status;
    while (waitpid(body, &status, 0) < 0 && !stopping) {}
    if (status) fatal("could not start containerd", "");
    char path[4096];
    snprintf(path, sizeof path, "%s/standin.lock", data_dir);
    int lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB)) fatal("finds another k3s at", data_dir);
    if (!strcmp(role, "server")) check_database(data_dir);
    fprintf(stderr, "level=info msg=\"STANDIN %s %s is up\"\n", VERSION, role);
    close(open("/run/k3s/ready", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    if (!fault("STANDIN_HANG")) notify("READY=1\nSTATUS=STANDIN up");
    for (int second = 0; !stopping; second++) {
        if (second == 5 && fault("STANDIN_CRASH")) fatal("was told to crash", VERSION);
        sleep(1);
    }
    notify("STOPPING=1");
    unlink("/run/k3s/ready");
    return 0;
}

static int run_ctr(int count, char **words) {
    char *command[64] = {"/opt/standin/bin/ctr", "-a", "/run/k3s/containerd/containerd.sock"};
    for (int i = 0; i < count && i < 60; i++) command[3 + i] = words[i];
    execv(command[0], command);
    fatal("cannot run", command[0]);
    return 1;
}

static int run_kubectl(int count, char **words) {
    char name[256] = "node/";
    if (access("/run/k3s/ready", F_OK)) { fputs("STANDIN connection refused\n", stderr); return 1; }
    if (count > 1 && !strcmp(words[0], "get") && !strcmp(words[1], "--raw")) { puts("ok"); return 0; }
    gethostname(name + 5, sizeof name - 6);
    puts(name);
    return 0;
}

int main(int count, char **words) {
    const char *slash = strrchr(words[0], '/');
    const char *name = slash ? slash + 1 : words[0];
    if (!strcmp(name, "ctr")) return run_ctr(count - 1, words + 1);
    if (!strcmp(name, "kubectl")) return run_kubectl(count - 1, words + 1);
    if (count < 2) return 2;
    if (!strcmp(words[1], "ctr")) return run_ctr(count - 2, words + 2);
    if (!strcmp(words[1], "kubectl")) return run_kubectl(count - 2, words + 2);
    if (!strcmp(words[1], "--version")) {
        printf("k3s version %s (STANDIN)\ngo version none\n", VERSION);
        return 0;
    }
    if (!strcmp(words[1], "check-config"))
        return system("grep -q '[[:space:]]overlay$' /proc/filesystems && grep -q '^memory' /proc/cgroups") ? 1 : 0;
    if (!strcmp(words[1], "server") || !strcmp(words[1], "agent")) {
        signal(SIGTERM, on_term);
        signal(SIGINT, on_term);
        return serve(words[1], count - 2, words + 2);
    }
    fatal("unknown command", words[1]);
}
