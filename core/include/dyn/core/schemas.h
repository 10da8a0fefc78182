#pragma once

#include <vector>

#include "dyn/core/describe.h"
#include "dyn/core/faults.h"
#include "dyn/core/kv_tiers.h"
#include "dyn/core/network.h"
#include "dyn/core/plan.h"
#include "dyn/core/profile.h"
#include "dyn/core/recipe.h"
#include "dyn/core/report.h"

namespace dyn {

// The declarations of core's structs and enums, for schemas that contain them: include this
// header where you declare one.
void describe(EnumSchema<Precision>& s);
void describe(EnumSchema<Provenance>& s);
void describe(EnumSchema<AttentionKind>& s);
void describe(EnumSchema<FourBitScope>& s);
void describe(EnumSchema<OperatorKind>& s);
void describe(EnumSchema<LengthDistribution>& s);
void describe(EnumSchema<TraceFormat>& s);
void describe(EnumSchema<ArrivalProcess>& s);
void describe(EnumSchema<RateProfile>& s);
void describe(EnumSchema<TurnCount>& s);
void describe(EnumSchema<Objective>& s);
void describe(EnumSchema<RouterKind>& s);
void describe(EnumSchema<RouterCost>& s);
void describe(EnumSchema<CacheView>& s);
void describe(EnumSchema<QueueOrder>& s);
void describe(EnumSchema<HandOff>& s);
void describe(EnumSchema<AutoscalerKind>& s);
void describe(EnumSchema<WeightSource>& s);
void describe(EnumSchema<FaultKind>& s);
void describe(EnumSchema<WorkerRole>& s);
void describe(EnumSchema<EngineKind>& s);
void describe(EnumSchema<FabricKind>& s);
void describe(EnumSchema<RequestStatus>& s);
void describe(EnumSchema<EvictionKind>& s);
void describe(EnumSchema<TierScope>& s);
void describe(EnumSchema<TierWrite>& s);

void describe(ObjectSchema<Slo>& s);
void describe(ObjectSchema<TrafficClass>& s);
void describe(ObjectSchema<Traffic>& s);
void describe(ObjectSchema<Hardware>& s);
void describe(EnumSchema<DraftKind>& s);
void describe(EnumSchema<QueuePolicy>& s);
void describe(EnumSchema<SchedulePolicy>& s);
void describe(EnumSchema<CapacityPolicy>& s);
void describe(ObjectSchema<SpeculationConfig>& s);
void describe(ObjectSchema<SglangConfig>& s);
void describe(ObjectSchema<LoraConfig>& s);
void describe(ObjectSchema<AdapterMix>& s);
void describe(ObjectSchema<ImageMix>& s);
void describe(ObjectSchema<DeploymentEncode>& s);
void describe(ObjectSchema<EncodeSpec>& s);
void describe(ObjectSchema<EngineConfig>& s);
void describe(ObjectSchema<RouterConfig>& s);
void describe(ObjectSchema<NetworkSpec>& s);
void describe(ObjectSchema<DisaggregationSpec>& s);
void describe(ObjectSchema<AutoscalerSpec>& s);
void describe(ObjectSchema<FaultEvent>& s);
void describe(ObjectSchema<FaultRate>& s);
void describe(ObjectSchema<CancellationSpec>& s);
void describe(ObjectSchema<RetrySpec>& s);
void describe(ObjectSchema<FaultSpec>& s);
void describe(ObjectSchema<KvTier>& s);
void describe(ObjectSchema<KvTiers>& s);
void describe(ObjectSchema<SearchSpace>& s);
void describe(EnumSchema<TimingKind>& s);
void describe(ObjectSchema<StepTiming>& s);
void describe(ObjectSchema<DeploymentPool>& s);
void describe(ObjectSchema<Deployment>& s);
void describe(ObjectSchema<Recipe>& s);

void describe(ObjectSchema<GpuSpec>& s);
void describe(ObjectSchema<CorrectionPoint>& s);
void describe(ObjectSchema<OperatorFit>& s);
void describe(ObjectSchema<EngineHost>& s);
void describe(ObjectSchema<StorageFit>& s);
void describe(ObjectSchema<Profile>& s);

void describe(ObjectSchema<Estimate>& s);
void describe(ObjectSchema<AttentionSpec>& s);
void describe(ObjectSchema<LinearAttentionSpec>& s);
void describe(ObjectSchema<MoeSpec>& s);
void describe(ObjectSchema<VisionSpec>& s);
void describe(ObjectSchema<ModelSpec>& s);
void describe(ObjectSchema<ParallelLayout>& s);
void describe(ObjectSchema<EngineTarget>& s);
void describe(ObjectSchema<PoolSpec>& s);
void describe(ObjectSchema<TransferSpec>& s);
void describe(ObjectSchema<PlannedMetric>& s);
void describe(ObjectSchema<Plan>& s);

void describe(ObjectSchema<Metric>& s);
void describe(ObjectSchema<ClassReport>& s);
void describe(ObjectSchema<Report>& s);

const DocumentSchema& recipe_schema();   ///< dyn.recipe/1
const DocumentSchema& profile_schema();  ///< dyn.profile/1
const DocumentSchema& plan_schema();     ///< dyn.plan/1
const DocumentSchema& report_schema();   ///< dyn.report/1

/// All of core's kinds of files, in the order of the reference.
std::vector<const DocumentSchema*> core_schemas();

}  // namespace dyn
