import { FunctionsServiceService } from '@berth/contracts/functions/v1/functions';
import { ImagesServiceService } from '@berth/contracts/functions/v1/images';
import { ShellFunctionsServiceService } from '@berth/contracts/functions/v1/shell';
import { WebFunctionsServiceService } from '@berth/contracts/functions/v1/web';
import type { Consumption } from '@berth/events';
import { defineService, implement, type ServiceModule } from '@berth/service-kit';
import { createContext } from './context';
import { Images } from './loops/images';
import { consumeContainerEvents } from './loops/container-events';
import { hearOfShortRoom } from './loops/short-room';
import { Repair } from './loops/repair';
import { SilentApps } from './loops/silent-apps';
import { SilentShells } from './loops/silent-shells';
import { bindFunction } from './rpc/bind-function';
import { attachRunner } from './rpc/attach-runner';
import { cancelFunctionCall } from './rpc/cancel-function-call';
import { createApp } from './rpc/create-app';
import { createFunction } from './rpc/create-function';
import { findWebFunction } from './rpc/find-web-function';
import { getApp } from './rpc/get-app';
import { getFunction } from './rpc/get-function';
import { getFunctionCall } from './rpc/get-function-call';
import { getInputPayload } from './rpc/get-input-payload';
import { invokeFunction } from './rpc/invoke-function';
import { listApps } from './rpc/list-apps';
import { listFunctions } from './rpc/list-functions';
import { listInvocations } from './rpc/list-invocations';
import { mapFunction } from './rpc/map-function';
import { openShell } from './rpc/open-shell';
import { openFunctionCall } from './rpc/open-function-call';
import { putFunctionCallInputs } from './rpc/put-function-call-inputs';
import { closeFunctionCall } from './rpc/close-function-call';
import { getFunctionCallResult } from './rpc/get-function-call-result';
import { streamFunctionCallItems } from './rpc/stream-function-call-items';
import { streamFunctionCallOutputs } from './rpc/stream-function-call-outputs';
import { serveWebRequest } from './rpc/serve-web-request';
import { spawnFunction } from './rpc/spawn-function';
import { stopApp } from './rpc/stop-app';
import { streamFunctionCallLogs } from './rpc/stream-function-call-logs';
import { streamFunctionLogs } from './rpc/stream-function-logs';
import { streamLogs } from './rpc/stream-logs';
import { deleteFunction } from './rpc/delete-function';
import { findFunctions } from './rpc/find-functions';
import { listFunctionVersions } from './rpc/list-function-versions';
import { rollbackFunction } from './rpc/rollback-function';
import { createDeployment } from './rpc/create-deployment';
import { listDeployments } from './rpc/list-deployments';
import { rollbackApp } from './rpc/rollback-app';
import { sendHeartbeat } from './rpc/send-heartbeat';
import { updateFunction } from './rpc/update-function';
import { claimImageBuild } from './rpc/claim-image-build';
import { createImage } from './rpc/create-image';
import { deleteImage } from './rpc/delete-image';
import { finishImageBuild } from './rpc/finish-image-build';
import { getImage } from './rpc/get-image';
import { getImageBuild } from './rpc/get-image-build';
import { listImages } from './rpc/list-images';
import { renewImageBuild } from './rpc/renew-image-build';
import { streamImageLogs } from './rpc/stream-image-logs';
import { pruneOutbox } from './store/input-store';
import { schema } from './store/schema';

export const functions: ServiceModule = defineService(
  'functions',
  async (base) => {
    const context = await createContext(base);
    const { db, relay, waiting, lines, autoscaler, retries, schedules, webhooks, stopping } = context;
    const repair = new Repair(context);
    const silentApps = new SilentApps(context);
    const images = new Images(context);
    const silentShells = new SilentShells(context);
    let containerEvents: Consumption | undefined;
    let stopHearing = () => {};
    return {
      services: [
        implement(FunctionsServiceService, {
          createApp: createApp(context),
          listApps: listApps(context),
          getApp: getApp(context),
          stopApp: stopApp(context),
          createFunction: createFunction(context),
          updateFunction: updateFunction(context),
          bindFunction: bindFunction(context),
          getFunction: getFunction(context),
          listFunctions: listFunctions(context),
          invokeFunction: invokeFunction(context),
          spawnFunction: spawnFunction(context),
          listInvocations: listInvocations(context),
          getFunctionCall: getFunctionCall(context),
          cancelFunctionCall: cancelFunctionCall(context),
          streamLogs: streamLogs(context),
          streamFunctionLogs: streamFunctionLogs(context),
          streamFunctionCallLogs: streamFunctionCallLogs(context),
          attachRunner: attachRunner(context),
          getInputPayload: getInputPayload(context),
          deleteFunction: deleteFunction(context),
          findFunctions: findFunctions(context),
          listFunctionVersions: listFunctionVersions(context),
          rollbackFunction: rollbackFunction(context),
          createDeployment: createDeployment(context),
          listDeployments: listDeployments(context),
          rollbackApp: rollbackApp(context),
          sendHeartbeat: sendHeartbeat(context),
          mapFunction: mapFunction(context),
          openFunctionCall: openFunctionCall(context),
          putFunctionCallInputs: putFunctionCallInputs(context),
          closeFunctionCall: closeFunctionCall(context),
          streamFunctionCallItems: streamFunctionCallItems(context),
          streamFunctionCallOutputs: streamFunctionCallOutputs(context),
          getFunctionCallResult: getFunctionCallResult(context),
        }),
        implement(ImagesServiceService, {
          createImage: createImage(context),
          getImage: getImage(context),
          listImages: listImages(context),
          streamImageLogs: streamImageLogs(context),
          deleteImage: deleteImage(context),
          claimImageBuild: claimImageBuild(context),
          renewImageBuild: renewImageBuild(context),
          finishImageBuild: finishImageBuild(context),
          getImageBuild: getImageBuild(context),
        }),
        implement(ShellFunctionsServiceService, { openShell: openShell(context) }),
        implement(WebFunctionsServiceService, {
          findWebFunction: findWebFunction(context),
          serveWebRequest: serveWebRequest(context),
        }),
      ],
      async begin() {
        await pruneOutbox(db);
        relay.start();
        waiting.start();
        lines.start();
        autoscaler.start();
        repair.start();
        retries.start();
        schedules.start();
        webhooks.start();
        silentApps.start();
        images.start();
        silentShells.start();
        stopHearing = hearOfShortRoom(context);
        containerEvents = await consumeContainerEvents(context);
      },
      async drain() {
        waiting.drain();
        stopping.abort();
        lines.stop();
      },
      async [Symbol.asyncDispose]() {
        stopHearing();
        await containerEvents?.stop();
        const loops = [autoscaler, repair, retries, schedules, webhooks, silentApps, images, silentShells];
        await Promise.all(loops.map((loop) => loop.stop()));
        await context[Symbol.asyncDispose]();
      },
    };
  },
  schema,
);
