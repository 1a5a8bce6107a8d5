package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"webrtc2sip/internal/config"
)

// version is set by the linker.
var version = "development"

func main() {
	easeCollector()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	now, hangUp := context.WithCancel(context.Background())
	ctx, stop := context.WithCancel(context.WithValue(context.Background(), hurry{}, now))
	go func() { // ends with the process
		for _, act := range []func(){stop, hangUp} { // the first signal lets calls end, the second hangs up
			<-signals
			act()
		}
		<-signals
		os.Exit(1)
	}()
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// run is the program but for the process around it: it returns the exit status when ctx has ended, or earlier
// when the command line asks for no more or something fails.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if err := command(stdout, stderr).RunContext(ctx, args); err != nil {
		fmt.Fprintf(stderr, "webrtc2sip: %v\n", err)
		return 1
	}
	return 0
}

// command is the command line.
func command(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:            "webrtc2sip",
		Usage:           "a gateway between WebRTC browsers and SIP",
		UsageText:       "webrtc2sip [--config PATH] [--check]",
		Version:         version,
		HideHelpCommand: true,
		Writer:          stdout,
		ErrWriter:       stderr,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Value: "./config.xml", Usage: "read the configuration from `PATH`"},
			&cli.BoolFlag{Name: "check", Usage: "print what the configuration means and exit"},
		},
		// Errors are printed by run, in one line and without the help text.
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return fmt.Errorf("%w (see --help)", err) },
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return fmt.Errorf("unknown argument %q (see --help)", c.Args().First())
			}
			if c.Bool("check") {
				return check(c.String("config"), stdout)
			}
			return start(c.Context, c.String("config"), stdout, stderr)
		},
	}
}

// load reads the configuration and makes sure that it asks for something.
func load(path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	if len(cfg.Transports) == 0 {
		return nil, fmt.Errorf("%s: no <transport>, so there is nothing to listen on", path)
	}
	return cfg, nil
}

// check prints what the file at path means.
func check(path string, stdout io.Writer) error {
	cfg, err := load(path)
	if err != nil {
		return err
	}
	own, err := certificate(cfg)
	if err != nil {
		return err
	}
	if _, err := clientTLS(cfg, own); err != nil {
		return err
	}
	if _, err := newEdge(cfg); err != nil {
		return err
	}
	describe(stdout, path, cfg)
	return nil
}

// start runs the gateway until ctx ends.
func start(ctx context.Context, path string, stdout, stderr io.Writer) error {
	cfg, err := load(path)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: cfg.DebugLevel}))
	// What the file says in vain is told whatever its debug-level, once.
	notices := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: min(cfg.DebugLevel, slog.LevelWarn)}))
	for _, w := range warnings(cfg) {
		notices.Warn("configuration", "file", path, "line", w.Line, "element", w.Element, "warning", w.Text)
	}
	g, err := newGateway(cfg, log)
	if err != nil {
		return err
	}
	g.announce(stdout)
	if err := g.run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
