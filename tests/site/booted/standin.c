/* A stand-in for k3s: a real ELF file that starts a real containerd and really imports agent/images.
 *
 * As k3s does, it unpacks its programs below the data directory, refuses unknown flags, broken YAML and a datastore of a
 * newer minor release, goes on when an archive cannot be imported, tells systemd from its main process that it is ready,
 * and leaves the shims of running containers alone when it stops. It is no Kubernetes: `kubectl` answers two questions,
 * no pod is scheduled, and registries.yaml is read but not used. All it says begins with STANDIN.
 *
 * /opt/standin/bin holds containerd, its shim, runc, ctr and zstd. /opt/standin/faults holds lines
 * `fail|hang|crash|slow|noimport VERSION [SECONDS]`. Built with -DVERSION='"v1.34.1+k3s1"'.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET "/run/k3s/containerd/containerd.sock"
#define STATE "/run/k3s/standin"

static const char *const VALUE_FLAGS[] = {
    "data-dir", "token", "token-file", "agent-token", "agent-token-file", "server", "node-name", "node-label",
    "node-taint", "node-ip", "node-external-ip", "disable", "flannel-backend", "flannel-iface", "write-kubeconfig",
    "write-kubeconfig-mode", "write-kubeconfig-group", "kubelet-arg", "kube-apiserver-arg", "snapshotter", "tls-san",
    "cluster-cidr", "service-cidr", "cluster-dns", "cluster-domain", "resolv-conf", "bind-address", "advertise-address",
    "system-default-registry", "private-registry", "datastore-endpoint", "config", "log", "airgap-extra-registry", 0};
static const char *const SWITCH_FLAGS[] = {
    "docker", "cluster-init", "debug", "disable-agent", "disable-default-registry-endpoint", "selinux",
    "prefer-bundled-bin", "disable-network-policy", "embedded-registry", "disable-cloud-controller",
    "disable-kube-proxy", "disable-helm-controller", "secrets-encryption", "protect-kernel-defaults", 0};

static const char *data_dir, *node_name, *server_url, *token, *token_file, *snapshotter = "overlayfs", *docker;
static const char *kubeconfig_mode = "600", *config_file = "/etc/rancher/k3s/config.yaml", *without_agent;
static volatile sig_atomic_t stopping;

static void on_term(int number) { (void)number; stopping = 1; }

static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "STANDIN " VERSION ": ");
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

#define DIE(...) do { say("fatal: " __VA_ARGS__); exit(1); } while (0)

static char *text(const char *format, ...) {
    char *made;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&made, format, arguments) < 0) abort();
    va_end(arguments);
    return made;
}

static void make_path(const char *path) {
    char *copy = text("%s", path);
    for (char *at = copy + 1; *at; at++)
        if (*at == '/') { *at = 0; mkdir(copy, 0755); *at = '/'; }
    if (mkdir(copy, 0755) && errno != EEXIST) DIE("mkdir %s: %s", path, strerror(errno));
}

static void write_file(const char *path, mode_t mode, const char *content) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (file < 0 || write(file, content, strlen(content)) < 0) DIE("write %s: %s", path, strerror(errno));
    fchmod(file, mode);
    close(file);
}

static int run(char *const words[]) {
    pid_t child = fork();
    int status;
    if (!child) { execvp(words[0], words); _exit(127); }
    while (waitpid(child, &status, 0) < 0) if (errno != EINTR) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Returns the seconds of a fault for this version, 1 when it names none, 0 when there is no such fault. */
static int fault(const char *wanted) {
    char kind[32], version[64];
    int seconds, found = 0;
    char line[256];
    FILE *file = fopen("/opt/standin/faults", "r");
    while (file && fgets(line, sizeof line, file)) {
        seconds = 1;
        if (sscanf(line, "%31s %63s %d", kind, version, &seconds) >= 2 && !strcmp(kind, wanted) && !strcmp(version, VERSION))
            found = seconds;
    }
    if (file) fclose(file);
    return found;
}

static void notify(const char *message) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path) return;
    int out = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (*path == '@') address.sun_path[0] = 0;
    sendto(out, message, strlen(message), 0, (void *)&address, offsetof(struct sockaddr_un, sun_path) + strlen(path));
    close(out);
}

static int in(const char *const list[], const char *name) {
    for (; *list; list++) if (!strcmp(*list, name)) return 1;
    return 0;
}

static void take(const char *name, const char *value) {
    const struct { const char *name, **place; } places[] = {
        {"data-dir", &data_dir}, {"node-name", &node_name}, {"server", &server_url}, {"token", &token},
        {"token-file", &token_file}, {"snapshotter", &snapshotter}, {"docker", &docker},
        {"write-kubeconfig-mode", &kubeconfig_mode}, {"config", &config_file}, {"disable-agent", &without_agent}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (!strcmp(places[i].name, name)) *places[i].place = value;
}

static void read_flags(int count, char **words) {
    for (int i = 0; i < count; i++) {
        char *name = words[i], *value;
        if (!strcmp(name, "-d")) name = "--data-dir";
        if (!strcmp(name, "-t")) name = "--token";
        if (!strcmp(name, "-s")) name = "--server";
        if (!strcmp(name, "-c")) name = "--config";
        if (strncmp(name, "--", 2)) DIE("unexpected argument: %s", name);
        name = text("%s", name + 2);
        value = strchr(name, '=');
        if (value) *value++ = 0;
        if (in(SWITCH_FLAGS, name)) { take(name, value ? value : "true"); continue; }
        if (!in(VALUE_FLAGS, name)) DIE("flag provided but not defined: --%s", name);
        if (!value && ++i >= count) DIE("flag needs an argument: --%s", name);
        take(name, value ? value : words[i]);
    }
}

/* Takes the YAML that people write here: maps, lists, comments. Anything else stops k3s, and so this. */
static void read_yaml(const char *path, int is_config) {
    char line[4096];
    FILE *file = fopen(path, "r");
    if (!file) { if (errno != ENOENT) DIE("%s: %s", path, strerror(errno)); return; }
    for (int number = 1; fgets(line, sizeof line, file); number++) {
        char *end = line + strcspn(line, "\n"), *at = line + strspn(line, " "), *colon;
        *end = 0;
        if (strchr(line, '\t')) DIE("%s:%d: found a tab character that violates indentation", path, number);
        if (!*at || *at == '#' || !strcmp(line, "---")) continue;
        colon = strchr(at, ':');
        if (*at != '-' && !colon && *at != '}' && *at != ']') DIE("%s:%d: could not find expected ':'", path, number);
        if (!is_config || at != line || *at == '-' || *at == '{') continue;
        *colon = 0;
        for (at = colon + 1; *at == ' '; at++);
        for (end = at + strcspn(at, "#"); end > at && end[-1] == ' '; end--);
        *end = 0;
        if ((*at == '"' || *at == '\'') && end > at + 1) { at++; end[-1] = 0; }
        if (!in(VALUE_FLAGS, line) && !in(SWITCH_FLAGS, line)) DIE("%s:%d: unknown key %s", path, number, line);
        if (*at && strcmp(at, "false")) take(text("%s", line), text("%s", at));
    }
    fclose(file);
}

static char *unpack(void) {
    static const char *const programs[] = {"containerd", "containerd-shim-runc-v2", "ctr", "runc", "zstd", 0};
    char *bin = text("%s/data/standin/bin", data_dir), *last = text("%s/data/current", data_dir);
    make_path(bin);
    for (const char *const *name = programs; *name; name++) {
        char *target = text("%s/%s", bin, *name), *from = text("/opt/standin/bin/%s", *name);
        if (!access(target, X_OK)) continue;
        if (run((char *[]){"cp", from, target, 0})) DIE("cannot unpack %s", target);
    }
    if (symlink("standin", last) && errno != EEXIST) DIE("%s: %s", last, strerror(errno));
    return bin;
}

static void check_datastore(void) {
    char line[128], found[128] = "";
    int theirs = 0, ours = 0;
    char *directory = text("%s/server/db", data_dir), *path = text("%s/state.db", directory);
    make_path(directory);
    FILE *file = fopen(path, "a+");
    if (!file) DIE("%s: %s", path, strerror(errno));
    rewind(file);
    while (fgets(line, sizeof line, file)) strcpy(found, line);
    sscanf(found, "v1.%d.", &theirs);
    sscanf(VERSION, "v1.%d.", &ours);
    if (theirs > ours) DIE("the datastore was written by %.*s, this is " VERSION, (int)strcspn(found, "\n"), found);
    fseek(file, 0, SEEK_END);
    fputs(VERSION "\n", file);
    fflush(file);
    fsync(fileno(file));
    fclose(file);
}

static void listen_on(int port) {
    int one = 1, in_socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY)};
    setsockopt(in_socket, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(in_socket, (void *)&address, sizeof address) || listen(in_socket, 16)) DIE("port %d: %s", port, strerror(errno));
}

static int answers(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = connect(out, (void *)&address, sizeof address);
    close(out);
    return !failed;
}

static void start_containerd(const char *bin) {
    char *config = text("%s/agent/etc/containerd/config.toml", data_dir), *log = text("%s/agent/containerd/containerd.log", data_dir);
    make_path(text("%s/agent/etc/containerd", data_dir));
    make_path(text("%s/agent/containerd", data_dir));
    make_path("/run/k3s/containerd");
    write_file(config, 0600, text(
        "version = 2\nroot = \"%s/agent/containerd\"\nstate = \"/run/k3s/containerd\"\n"
        "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"" SOCKET "\"\n"
        "[plugins.\"io.containerd.internal.v1.opt\"]\npath = \"%s/agent/containerd\"\n", data_dir, data_dir));
    if (!fork()) {
        int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(out, 1);
        dup2(out, 2);
        execl(text("%s/containerd", bin), "containerd", "-c", config, (char *)0);
        _exit(127);
    }
    for (int i = 0; i < 300; i++, usleep(100000))
        if (!run((char *[]){"sh", "-c", "ctr -a " SOCKET " version >/dev/null 2>&1", 0})) return;
    DIE("containerd does not answer");
}

static int ends(const char *name, const char *suffix) {
    size_t length = strlen(name), tail = strlen(suffix);
    return length > tail && !strcmp(name + length - tail, suffix);
}

/* Releases of January 2025 and later take what comes into the directory while they run (k3s-io/k3s#10973). */
static int watches(void) {
    int minor = 0, patch = 0;
    sscanf(VERSION, "v1.%d.%d", &minor, &patch);
    return minor > 31 || (minor == 31 && patch >= 5) || (minor == 30 && patch >= 9) || (minor == 29 && patch >= 13);
}

/* Says whether a file is another one than when it was looked at before. */
static int is_new(const char *file) {
    static char *seen[256];
    struct stat status;
    if (stat(file, &status)) return 0;
    char *key = text("%s %lld %lld.%09ld", file, (long long)status.st_size, (long long)status.st_mtim.tv_sec,
                     status.st_mtim.tv_nsec);
    int i = 0;
    for (; i < 255 && seen[i]; i++) if (!strcmp(seen[i], key)) { free(key); return 0; }
    seen[i] = key;
    return 1;
}

static void import_images(void) {
    struct dirent **entries;
    char *directory = text("%s/agent/images", data_dir);
    int count = scandir(directory, &entries, 0, alphasort);
    for (int i = 0; i < count; i++) {
        char *name = entries[i]->d_name, *file = text("%s/%s", directory, name), *opener;
        if (*name == '.' || !is_new(file)) { free(file); continue; }
        if (ends(name, ".tar")) opener = "cat";
        else if (ends(name, ".tar.gz") || ends(name, ".tgz")) opener = "gzip -dc";
        else if (ends(name, ".tar.zst") || ends(name, ".tzst")) opener = "zstd -dc --memory=32MB";
        else { if (*name != '.') say("ignored %s", file); continue; }
        say("importing %s", file);
        char *line = text("%s \"$1\" | ctr -a " SOCKET
                          " -n k8s.io images import --all-platforms --snapshotter %s -", opener, snapshotter);
        if (run((char *[]){"sh", "-c", line, "sh", file, 0})) say("error: unable to import %s", file);
    }
}

static int serve(int is_server, int count, char **words) {
    if (geteuid()) DIE("not running as root, rerun as root");
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    node_name = host;
    for (int i = 0; i + 1 < count; i++) if (!strcmp(words[i], "--config") || !strcmp(words[i], "-c")) config_file = words[i + 1];
    if (getenv("K3S_CONFIG_FILE")) config_file = getenv("K3S_CONFIG_FILE");
    const char *from_environment[][2] = {{"K3S_DATA_DIR", "data-dir"}, {"K3S_NODE_NAME", "node-name"}, {"K3S_URL", "server"},
        {"K3S_TOKEN", "token"}, {"K3S_TOKEN_FILE", "token-file"}, {"K3S_KUBECONFIG_MODE", "write-kubeconfig-mode"}};
    for (size_t i = 0; i < 6; i++)
        if (getenv(from_environment[i][0])) take(from_environment[i][1], getenv(from_environment[i][0]));
    read_yaml(config_file, 1); /* k3s makes flags of it, and flags go before variables */
    read_flags(count, words);
    read_yaml("/etc/rancher/k3s/registries.yaml", 0);
    if (!data_dir) data_dir = "/var/lib/rancher/k3s";
    if (!is_server && !server_url) DIE("--server is required");
    if (!is_server && !token && (!token_file || access(token_file, R_OK))) DIE("--token is required");
    if (fault("fail")) DIE("told to fail");
    say("starting %s as %s", is_server ? "server" : "agent", node_name);

    make_path(data_dir);
    int lock = open(text("%s/standin.lock", data_dir), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (flock(lock, LOCK_EX | LOCK_NB)) DIE("another k3s uses %s", data_dir);
    char *bin = unpack();
    setenv("PATH", text("%s:%s", bin, getenv("PATH") ? getenv("PATH") : "/usr/sbin:/usr/bin:/sbin:/bin"), 1);
    if (is_server) { check_datastore(); listen_on(6443); }
    if (!is_server || !without_agent) listen_on(10250);
    if (!docker && !(is_server && without_agent)) {
        start_containerd(bin);
        if (!fault("noimport")) import_images();
    }
    sleep(fault("slow"));
    while (fault("hang") && !stopping) sleep(1);
    make_path(STATE);
    if (is_server) {
        make_path("/etc/rancher/k3s");
        make_path(text("%s/server", data_dir));
        write_file("/etc/rancher/k3s/k3s.yaml", strtol(kubeconfig_mode, 0, 8), "kind: Config\n");
        write_file(text("%s/server/token", data_dir), 0600, "K10standin::server:standin\n");
        write_file(STATE "/node", 0600, node_name);
    }
    say("ready");
    notify("READY=1\nSTATUS=STANDIN up");
    int crash = fault("crash");
    for (int seconds = 0; !stopping; seconds++) {
        while (waitpid(-1, 0, WNOHANG) > 0);
        if (watches() && !docker && !without_agent && !fault("noimport")) import_images();
        if (crash && seconds >= crash) DIE("told to crash");
        sleep(1);
    }
    notify("STOPPING=1");
    unlink(STATE "/node");
    return 0;
}

static int kubectl(int count, char **words) {
    char node[256] = "";
    if (!answers(6443)) { fputs("The connection to the server 127.0.0.1:6443 was refused\n", stderr); return 1; }
    FILE *file = fopen(STATE "/node", "r");
    if (!file || !fgets(node, sizeof node, file)) { fputs("the server is not ready\n", stderr); return 1; }
    if (count == 3 && !strcmp(words[0], "get") && !strcmp(words[1], "--raw") && !strcmp(words[2], "/readyz")) return puts("ok") < 0;
    if (count == 4 && !strcmp(words[0], "get") && !strcmp(words[1], "nodes") && !strcmp(words[2], "-o") && !strcmp(words[3], "name"))
        return printf("node/%s\n", node) < 0;
    fputs("STANDIN kubectl knows `get --raw /readyz` and `get nodes -o name`\n", stderr);
    return 64;
}

static int check_config(void) {
    int failed = 0;
    failed |= run((char *[]){"grep", "-q", "overlay", "/proc/filesystems", 0});
    failed |= run((char *[]){"grep", "-q", "^memory", "/proc/cgroups", 0});
    puts(failed ? "STATUS: 1 (fail)" : "STATUS: pass");
    return failed != 0;
}

int main(int count, char **words) {
    char *slash = strrchr(words[0], '/'), *name = slash ? slash + 1 : words[0];
    if (!strcmp(name, "kubectl") || !strcmp(name, "ctr") || !strcmp(name, "crictl")) { words[0] = name; words--; count++; }
    if (count < 2) { fputs("STANDIN: no command\n", stderr); return 64; }
    char *command = words[1], **rest = words + 2;
    signal(SIGTERM, on_term);
    signal(SIGINT, on_term);
    if (!strcmp(command, "--version")) return puts("k3s version " VERSION " (STANDIN)\ngo version none") < 0;
    if (!strcmp(command, "check-config")) return check_config();
    if (!strcmp(command, "server") || !strcmp(command, "agent")) return serve(*command == 's', count - 2, rest);
    if (!strcmp(command, "kubectl")) return kubectl(count - 2, rest);
    if (!strcmp(command, "ctr")) { /* without K3S_DATA_DIR k3s unpacks itself in its default place, wherever it serves */
        data_dir = getenv("K3S_DATA_DIR") ? getenv("K3S_DATA_DIR") : "/var/lib/rancher/k3s";
        setenv("CONTAINERD_ADDRESS", SOCKET, 0);
        rest[-1] = "ctr";
        execv(text("%s/ctr", unpack()), rest - 1);
        return 127;
    }
    fprintf(stderr, "STANDIN: no command %s\n", command);
    return 64;
}
