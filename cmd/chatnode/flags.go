package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chatnode/chatnode/internal/config"
	"github.com/chatnode/chatnode/node"
)

const envPrefix = "CHATNODE"

// nodeFlags declares the settings of a node with their defaults and ties each
// flag to its key.
func nodeFlags(fs *pflag.FlagSet, def node.Config) {
	text := func(flag, key, value, usage string) {
		fs.String(flag, value, usage)
		config.Key(fs, flag, key)
	}
	text("node-id", "node_id", def.NodeID, "name of this node, for ever")
	text("data-dir", "data_dir", def.DataDir, "directory for everything this node keeps")
	text("zone", "zone", def.Zone, "failure domain; replicas are spread over zones")
	text("listen-client", "listen.client", def.Listen.Client, "address for HTTP and WebSocket clients")
	text("listen-peer", "listen.peer", def.Listen.Peer, "address for other nodes")
	text("listen-debug", "listen.debug", def.Listen.Debug, "loopback address for profiles (default none)")
	text("advertise-client", "advertise.client", "", "address that clients reach this node by (default: the bound one)")
	text("advertise-peer", "advertise.peer", "", "address that nodes reach this node by (default: the bound one)")
	text("auth-secret-file", "auth.secret_file", "", "file with the secret that signs tokens")
	text("auth-audience", "auth.audience", "", "audience that tokens must name (default: none is asked for)")
	fs.StringSlice("origins", nil, "web pages that may connect, as https://example.org, besides the host itself")
	config.Key(fs, "origins", "origins")
	text("tls-client-cert", "tls.client_cert", "", "certificate for the client port")
	text("tls-client-key", "tls.client_key", "", "its key")
	text("tls-peer-cert", "tls.peer_cert", "", "certificate of this node for the peer port, as server and as client")
	text("tls-peer-key", "tls.peer_key", "", "its key")
	text("tls-peer-ca", "tls.peer_ca", "", "certificates of those who may sign peers")
	text("storage-log", "storage.log", def.Storage.Log, "how Raft logs are kept: segment, pebble or bolt")
	text("join-token-file", "cluster.join_token_file", "", "file with the cluster's join token; at bootstrap, the token to use instead of a new one")
	text("log-level", "log.level", def.Log.Level, "debug, info, warn or error")
	text("log-format", "log.format", def.Log.Format, "text or json")
	fs.Bool("insecure", def.Insecure, "allow ports beyond loopback without TLS: the network must be closed")
	config.Key(fs, "insecure", "insecure")
	fs.Int64("storage-reserve-bytes", def.Storage.ReserveBytes, "below so much free disk space appends are refused")
	config.Key(fs, "storage-reserve-bytes", "storage.reserve_bytes")
	fs.Int64("storage-cache-bytes", def.Storage.CacheBytes, "memory for blocks of the history")
	config.Key(fs, "storage-cache-bytes", "storage.cache_bytes")
	fs.Duration("election-timeout", def.Raft.ElectionTimeout, "silence after which a leader is replaced")
	config.Key(fs, "election-timeout", "raft.election_timeout")
	fs.Int("groups", def.Cluster.Groups, "conversation groups, fixed at bootstrap")
	config.Key(fs, "groups", "cluster.groups")
	fs.Int("replicas", def.Cluster.Replicas, "replicas of each group, when there are nodes enough; give all nodes the same")
	config.Key(fs, "replicas", "cluster.replicas")
	fs.Int64("memory-limit-bytes", def.Memory.LimitBytes, "soft limit of the Go runtime's memory, 0 for none")
	config.Key(fs, "memory-limit-bytes", "memory.limit_bytes")
	fs.Int("memory-gc-percent", def.Memory.GCPercent, "growth of the heap that starts a collection")
	config.Key(fs, "memory-gc-percent", "memory.gc_percent")
	fs.Duration("stop-after", def.StopAfter, "longest graceful stop")
	config.Key(fs, "stop-after", "stop_after")
	fs.Duration("join-timeout", def.Cluster.JoinTimeout, "longest time to wait for the cluster's answer")
	config.Key(fs, "join-timeout", "cluster.join_timeout")
	fs.String("config", "", "configuration file (default: ./chatnode.yaml, then /etc/chatnode/chatnode.yaml)")
}

// secrets are settings without a flag.
func secrets() map[string]any {
	return map[string]any{"auth.secret": "", "cluster.join_token": ""}
}

// loadNode gathers the configuration of a node from all its sources.
func (a *app) loadNode(cmd *cobra.Command) (node.Config, config.Loaded, error) {
	cfg := node.Default()
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return cfg, config.Loaded{}, err
	}
	if file == "" {
		file = a.env(envPrefix + "_CONFIG")
	}
	loaded, err := config.Load(cmd.Flags(), config.Source{
		EnvPrefix: envPrefix,
		Environ:   a.environ,
		File:      file,
		Search:    a.configFiles(),
		Defaults:  secrets(),
		Others:    []string{envPrefix + "_CONFIG", envPrefix + "_ADDR", envPrefix + "_TOKEN"},
	}, &cfg)
	return cfg, loaded, err
}

func (a *app) configFiles() []string {
	files := []string{"chatnode.yaml"}
	if dir := a.env("XDG_CONFIG_HOME"); dir != "" {
		files = append(files, filepath.Join(dir, "chatnode", "chatnode.yaml"))
	} else if home := a.env("HOME"); home != "" {
		files = append(files, filepath.Join(home, ".config", "chatnode", "chatnode.yaml"))
	}
	return append(files, "/etc/chatnode/chatnode.yaml")
}

// env gives a variable of the environment that the process was given.
func (a *app) env(name string) string {
	for _, line := range slices.Backward(a.environ) {
		if k, v, ok := strings.Cut(line, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// tempDir makes the directory of a dev node that was not given one.
func tempDir() (string, error) {
	dir, err := os.MkdirTemp("", "chatnode-dev-")
	if err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	return dir, nil
}
