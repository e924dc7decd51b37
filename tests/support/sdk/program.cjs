// What a program with @depot/sdk-node does: projects, tokens, a build that the command line carries on, looking back.
// Prints one JSON object. Environment: DEPOT_API_URL, DEPOT_TOKEN, and what the command line named by CLI needs.
"use strict";
const { spawnSync } = require("node:child_process");
const { depot } = require("@depot/sdk-node");

const headers = { Authorization: `Bearer ${process.env.DEPOT_TOKEN}` };
const { ProjectService, BuildService: CoreBuilds, OrganizationService, UsageService } = depot.core.v1;

async function main() {
  const told = {};
  const { organizations } = await OrganizationService.listOrganizations({}, { headers });
  told.organization = organizations[0].orgId;
  const { project } = await ProjectService.createProject(
    { name: "from-node", regionId: "us-east-1", cachePolicy: { keepGb: 25, keepDays: 7 } }, { headers });
  told.policy = [project.cachePolicy.keepGb, project.cachePolicy.keepDays];
  const projectId = project.projectId;
  const made = await ProjectService.createToken({ projectId, description: "ci" }, { headers });
  told.tokens = (await ProjectService.listTokens({ projectId }, { headers })).tokens.map((token) => token.description);
  await ProjectService.deleteToken({ tokenId: made.tokenId }, { headers });

  const { buildId, buildToken } = await depot.build.v1.BuildService.createBuild({ projectId }, { headers });
  const done = spawnSync(process.env.CLI, ["build", "--progress", "plain", process.env.CONTEXT], {
    env: { ...process.env, DEPOT_PROJECT_ID: projectId, DEPOT_BUILD_ID: buildId, DEPOT_TOKEN: buildToken }, encoding: "utf8" });
  told.exit = done.status;
  told.said = done.stderr;
  const { buildSteps } = await depot.build.v1.BuildService.getBuildSteps({ projectId, buildId }, { headers });
  told.steps = buildSteps.map((step) => step.name);
  const ran = buildSteps.find((step) => step.name.includes("RUN"));
  const { logs } = await depot.build.v1.BuildService.getBuildStepLogs(
    { projectId, buildId, buildStepDigest: ran.digest }, { headers });
  told.logs = logs.map((log) => log.message).join("");
  told.status = (await CoreBuilds.getBuild({ buildId }, { headers })).build.status;
  told.shared = (await CoreBuilds.shareBuild({ buildId }, { headers })).shareUrl;
  await CoreBuilds.stopSharingBuild({ buildId }, { headers });

  const second = await depot.build.v1.BuildService.createBuild({ projectId }, { headers });
  const mine = { Authorization: `Bearer ${second.buildToken}` };
  const asked = { buildId: second.buildId, platform: 1 };
  await depot.buildkit.v1.BuildKitService.reportHealth((async function* () { yield asked; })(), { headers: mine });
  for await (const reply of depot.buildkit.v1.BuildKitService.getEndpoint(asked, { headers: mine })) {
    if (reply.connection.case === "active") told.endpoint = reply.connection.value.endpoint;
  }
  await depot.buildkit.v1.BuildKitService.releaseEndpoint(asked, { headers: mine });
  await depot.build.v1.BuildService.finishBuild(
    { buildId: second.buildId, result: { case: "error", value: { error: "no luck" } } }, { headers });
  told.builds = (await CoreBuilds.listBuilds({ projectId }, { headers })).builds.map((build) => build.status);
  const span = { startAt: new Date(0), endAt: new Date(Date.now() + 86400000) };
  const { Timestamp } = require("@bufbuild/protobuf");
  const { usage } = await UsageService.getProjectUsage(
    { projectId, startAt: Timestamp.fromDate(span.startAt), endAt: Timestamp.fromDate(span.endAt) }, { headers });
  told.usage = usage.buildCount;
  await ProjectService.resetProject({ projectId }, { headers });
  await ProjectService.deleteProject({ projectId }, { headers });
  const refusals = [ProjectService.getProject({ projectId }, { headers }),
    ProjectService.listProjects({}, { headers: { Authorization: "Bearer nobody" } })];
  told.codes = (await Promise.allSettled(refusals)).map((answer) => answer.reason.code);
  console.log(JSON.stringify(told));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
