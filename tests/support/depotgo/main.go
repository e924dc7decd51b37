// Command depotgo is what a program with depot-go does, twice: as its simple example does it, and as its low-level one.
//
//	depotgo dockerfile DIR        build DIR/Dockerfile through the SDK's build and machine
//	depotgo graph COMMAND         run COMMAND in busybox, with a graph of its own, calling the API by hand
//
// The environment is that of every official client: DEPOT_API_URL, DEPOT_TOKEN, DEPOT_PROJECT_ID. Prints one JSON
// object; a build that fails is told in it, and to the API, and ends the program with 0 all the same.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/depot/depot-go/api"
	"github.com/depot/depot-go/build"
	"github.com/depot/depot-go/machine"
	"github.com/depot/depot-go/project"
	cliv1 "github.com/depot/depot-go/proto/depot/cli/v1"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
)

type told struct {
	BuildID    string   `json:"build_id"`
	BuildURL   string   `json:"build_url"`
	Project    string   `json:"project"`
	Endpoint   string   `json:"endpoint"`
	NWorkers   int      `json:"n_workers"`
	NPending   int      `json:"n_pending"`
	Cached     []string `json:"cached"`
	Steps      []string `json:"steps"`
	Logs       string   `json:"logs"`
	BuildError string   `json:"build_error"`
}

func main() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	if len(os.Args) != 3 {
		fail(errors.New("usage: depotgo dockerfile DIR | graph COMMAND"))
	}
	var result told
	var err error
	switch os.Args[1] {
	case "dockerfile":
		err = buildDockerfile(ctx, os.Args[2], &result)
	case "graph":
		err = buildGraph(ctx, os.Args[2], &result)
	default:
		err = fmt.Errorf("no such example: %s", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
	fail(json.NewEncoder(os.Stdout).Encode(result))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// buildDockerfile leaves the whole life to the SDK.
func buildDockerfile(ctx context.Context, dir string, result *told) error {
	request := &cliv1.CreateBuildRequest{
		ProjectId: project.ResolveProjectID("", dir),
		Options:   []*cliv1.BuildOptions{{Command: cliv1.Command_COMMAND_BUILD}},
	}
	made, err := build.NewBuild(ctx, request, os.Getenv("DEPOT_TOKEN"))
	if err != nil {
		return err
	}
	result.BuildID, result.BuildURL = made.ID, made.BuildURL
	result.Project = made.Response.Msg.ProjectId

	// A deferred call binds its arguments at once: through a closure, or every failure is told as a success.
	var buildErr error
	defer func() { made.Finish(buildErr) }()

	var held *machine.Machine
	if held, buildErr = machine.Acquire(ctx, made.ID, made.Token, "amd64"); buildErr != nil {
		return buildErr
	}
	defer func() { _ = held.Release() }()
	result.Endpoint = held.Addr

	var bk *client.Client
	if bk, buildErr = held.Connect(ctx); buildErr != nil {
		return buildErr
	}
	buildErr = solve(ctx, bk, nil, client.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: map[string]string{"filename": "Dockerfile"},
		LocalDirs:     map[string]string{"context": dir, "dockerfile": dir},
	}, result)
	if buildErr != nil {
		result.BuildError = buildErr.Error()
	}
	return nil
}

// buildGraph speaks to the API itself, and takes only the connection from the SDK.
func buildGraph(ctx context.Context, command string, result *told) error {
	builds := api.NewBuildClient()
	create := connect.NewRequest(&cliv1.CreateBuildRequest{ProjectId: os.Getenv("DEPOT_PROJECT_ID")})
	created, err := builds.CreateBuild(ctx, api.WithAuthentication(create, os.Getenv("DEPOT_TOKEN")))
	if err != nil {
		return err
	}
	id, token := created.Msg.BuildId, created.Msg.BuildToken
	result.BuildID, result.BuildURL, result.Project = id, created.Msg.BuildUrl, created.Msg.ProjectId

	health := &cliv1.ReportBuildHealthRequest{BuildId: id, Platform: cliv1.BuilderPlatform_BUILDER_PLATFORM_AMD64}
	if _, err := builds.ReportBuildHealth(ctx, api.WithAuthentication(connect.NewRequest(health), token)); err != nil {
		return err
	}
	held := &machine.Machine{BuildID: id, Token: token, Platform: "amd64"}
	for held.Addr == "" {
		ask := connect.NewRequest(&cliv1.GetBuildKitConnectionRequest{
			BuildId:  id,
			Platform: cliv1.BuilderPlatform_BUILDER_PLATFORM_AMD64,
		})
		answer, err := builds.GetBuildKitConnection(ctx, api.WithAuthentication(ask, token))
		if err != nil {
			return err
		}
		if active := answer.Msg.GetActive(); active != nil {
			held.Addr, held.ServerName = active.Endpoint, active.ServerName
			held.CACert, held.Cert, held.Key = active.CaCert.Cert, active.Cert.Cert, active.Cert.Key
			continue
		}
		result.NPending++
		time.Sleep(time.Duration(answer.Msg.GetPending().GetWaitMs()) * time.Millisecond)
	}
	result.Endpoint = held.Addr

	finish := &cliv1.FinishBuildRequest{BuildId: id}
	buildErr := runGraph(ctx, held, command, result)
	if buildErr == nil {
		finish.Result = &cliv1.FinishBuildRequest_Success{Success: &cliv1.FinishBuildRequest_BuildSuccess{}}
	} else {
		result.BuildError = buildErr.Error()
		finish.Result = &cliv1.FinishBuildRequest_Error{
			Error: &cliv1.FinishBuildRequest_BuildError{Error: result.BuildError},
		}
	}
	_, err = builds.FinishBuild(ctx, api.WithAuthentication(connect.NewRequest(finish), token))
	return err
}

func runGraph(ctx context.Context, held *machine.Machine, command string, result *told) error {
	bk, err := held.CheckReady(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = bk.Close() }()
	step := llb.Image("docker.io/library/busybox:latest").Run(llb.Shlexf("sh -c %q", command))
	definition, err := step.Root().Marshal(ctx, llb.LinuxAmd64)
	if err != nil {
		return err
	}
	return solve(ctx, bk, definition, client.SolveOpt{}, result)
}

func solve(
	ctx context.Context, bk *client.Client, definition *llb.Definition, options client.SolveOpt, result *told,
) error {
	workers, err := bk.ListWorkers(ctx)
	if err != nil {
		return err
	}
	result.NWorkers = len(workers)
	status := make(chan *client.SolveStatus)
	var reading sync.WaitGroup
	reading.Add(1)
	go func() {
		defer reading.Done()
		for update := range status {
			for _, vertex := range update.Vertexes {
				if vertex.Completed == nil {
					continue
				}
				result.Steps = append(result.Steps, vertex.Name)
				if vertex.Cached {
					result.Cached = append(result.Cached, vertex.Name)
				}
			}
			for _, log := range update.Logs {
				result.Logs += strings.ToValidUTF8(string(log.Data), "?")
			}
		}
	}()
	_, err = bk.Solve(ctx, definition, options, status)
	reading.Wait()
	return err
}
