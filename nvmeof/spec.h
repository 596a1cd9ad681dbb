/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What NVMe over Fabrics puts on the wire, as byte structs, each with its section. "Base" is NVM
 * Express Base Specification 2.0, with what 2.1 added where it says so; "NVM" the NVM Command Set
 * Specification 1.0; "TCP" the NVMe/TCP Transport Specification 1.0.
 *
 * Reserved fields are zero when sent and ignored when received, but where a section says otherwise.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "dpu_wire.h"
#include "nof_nqn.h"

/* ---- queue entries: Base 3.3.3 ---- */

/* Base 4.1.2, figures 90 to 99: one SGL descriptor. */
struct nof_sgl {
	dpu_le64 addr; // or an offset in the capsule
	dpu_le32 len;
	uint8_t rsvd[3]; // keyed descriptors have a key here
	uint8_t type; // high half: type, low half: subtype
};
static_assert(sizeof(struct nof_sgl) == 16, "Base 4.1.2");

#define NOF_SGL_BLOCK 0x00 // data block, address
#define NOF_SGL_OFFSET 0x01 // data block, offset in the capsule: in-capsule data
#define NOF_SGL_KEYED 0x40
#define NOF_SGL_TRANSPORT 0x5a // the transport moves the data: TCP 3.1

/* Base 3.3.3.1, figure 87: a submission queue entry. */
struct nof_sqe {
	uint8_t opc;
	uint8_t flags; // FUSE 1:0, PSDT 7:6
	dpu_le16 cid;
	dpu_le32 nsid;
	dpu_le32 cdw2, cdw3;
	dpu_le64 mptr;
	struct nof_sgl sgl;
	dpu_le32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
static_assert(sizeof(struct nof_sqe) == 64, "Base 3.3.3.1");

#define NOF_FUSE_MASK 0x03
#define NOF_FUSE_FIRST 0x01
#define NOF_FUSE_SECOND 0x02
#define NOF_PSDT_MASK 0xc0
#define NOF_PSDT_SGL 0x40 // what Fabrics demands: Base 3.3.2.1

/* Base 3.3.3.2, figure 92: a completion queue entry. */
struct nof_cqe {
	dpu_le32 dw0, dw1; // one 64-bit value for Fabrics commands
	dpu_le16 sqhd;
	dpu_le16 sqid; // reserved in Fabrics
	dpu_le16 cid;
	dpu_le16 status; // phase 0, SC 8:1, SCT 11:9, CRD 13:12, M 14, DNR 15
};
static_assert(sizeof(struct nof_cqe) == 16, "Base 3.3.3.2");

/* Base 3.3.3.2.1: status without the phase bit: SC 7:0, SCT 10:8, CRD 12:11, M 13, DNR 14. */
#define NOF_SC_MASK 0x07ff // SCT and SC: what enum nof_sc names
#define NOF_CRD_SHIFT 11
#define NOF_CRD_MASK 0x1800
#define NOF_SC_MORE 0x2000
#define NOF_SC_DNR 0x4000 // do not retry

enum nof_sc {
	/* SCT 0, generic: figure 94 */
	NOF_SC_SUCCESS = 0x000,
	NOF_SC_INVALID_OPCODE = 0x001,
	NOF_SC_INVALID_FIELD = 0x002,
	NOF_SC_CID_CONFLICT = 0x003,
	NOF_SC_DATA_TRANSFER = 0x004,
	NOF_SC_INTERNAL = 0x006,
	NOF_SC_ABORT_REQUESTED = 0x007,
	NOF_SC_ABORT_SQ_DELETED = 0x008,
	NOF_SC_FUSED_FAILED = 0x009,
	NOF_SC_FUSED_MISSING = 0x00a,
	NOF_SC_INVALID_NS = 0x00b, // invalid namespace or format
	NOF_SC_SEQUENCE = 0x00c,
	NOF_SC_SGL_SEGMENT = 0x00d,
	NOF_SC_SGL_COUNT = 0x00e,
	NOF_SC_SGL_LENGTH = 0x00f,
	NOF_SC_SGL_TYPE = 0x011,
	NOF_SC_SGL_OFFSET = 0x016,
	NOF_SC_ATOMIC_EXCEEDED = 0x014,
	NOF_SC_KATO_EXPIRED = 0x01a,
	NOF_SC_KATO_INVALID = 0x01b,
	NOF_SC_SANITIZE_FAILED = 0x01c,
	NOF_SC_NS_WRITE_PROTECTED = 0x020,
	NOF_SC_INTERRUPTED = 0x021,
	NOF_SC_TRANSIENT = 0x022, // transient transport error
	NOF_SC_ADMIN_NOT_READY = 0x024,
	NOF_SC_LBA_RANGE = 0x080,
	NOF_SC_CAPACITY = 0x081,
	NOF_SC_NS_NOT_READY = 0x082,
	NOF_SC_RESERVATION = 0x083,
	/* SCT 1, command specific: figure 95 */
	NOF_SC_INVALID_CQ = 0x100,
	NOF_SC_INVALID_QID = 0x101,
	NOF_SC_INVALID_QSIZE = 0x102,
	NOF_SC_ABORT_LIMIT = 0x103,
	NOF_SC_AER_LIMIT = 0x105,
	NOF_SC_INVALID_LOG = 0x109,
	NOF_SC_FEATURE_NOT_SAVEABLE = 0x10d,
	NOF_SC_FEATURE_NOT_CHANGEABLE = 0x10e,
	NOF_SC_CONFLICTING_ATTRIBUTES = 0x180,
	NOF_SC_READ_ONLY_RANGE = 0x182,
	// NVM 1.0c, figure 20; Linux' target says so of what its device or file system cannot do
	NOF_SC_COMMAND_SIZE = 0x183,
	/* the same numbers, of Fabrics commands: figure 96 */
	NOF_SC_CONNECT_FORMAT = 0x180,
	NOF_SC_CONNECT_BUSY = 0x181,
	NOF_SC_CONNECT_PARAM = 0x182,
	NOF_SC_CONNECT_RESTART = 0x183, // restart discovery
	NOF_SC_CONNECT_HOST = 0x184, // this host is not allowed
	NOF_SC_DISCOVERY_RESTART = 0x190,
	NOF_SC_AUTH_REQUIRED = 0x191,
	/* SCT 2, media and data integrity: figure 97 */
	NOF_SC_WRITE_FAULT = 0x280,
	NOF_SC_READ_ERROR = 0x281,
	NOF_SC_GUARD = 0x282,
	NOF_SC_COMPARE = 0x285,
	NOF_SC_ACCESS_DENIED = 0x286,
	NOF_SC_UNWRITTEN = 0x287,
	/* SCT 3, path related: figure 98 */
	NOF_SC_PATH_INTERNAL = 0x300,
	NOF_SC_ANA_PERSISTENT_LOSS = 0x301,
	NOF_SC_ANA_INACCESSIBLE = 0x302,
	NOF_SC_ANA_TRANSITION = 0x303,
	NOF_SC_CTRL_PATH = 0x360,
	NOF_SC_HOST_PATH = 0x370,
	NOF_SC_HOST_ABORTED = 0x371,
};
#define NOF_SCT(sc) ((sc) >> 8 & 7)
#define NOF_SCT_PATH 3

/* ---- opcodes: Base figures 138 and 346, NVM figure 17 ---- */
enum nof_admin_opc {
	NOF_ADM_DELETE_SQ = 0x00,
	NOF_ADM_CREATE_SQ = 0x01,
	NOF_ADM_GET_LOG = 0x02,
	NOF_ADM_DELETE_CQ = 0x04,
	NOF_ADM_CREATE_CQ = 0x05,
	NOF_ADM_IDENTIFY = 0x06,
	NOF_ADM_ABORT = 0x08,
	NOF_ADM_SET_FEATURES = 0x09,
	NOF_ADM_GET_FEATURES = 0x0a,
	NOF_ADM_AER = 0x0c,
	NOF_ADM_KEEP_ALIVE = 0x18,
};

enum nof_nvm_opc {
	NOF_NVM_FLUSH = 0x00,
	NOF_NVM_WRITE = 0x01,
	NOF_NVM_READ = 0x02,
	NOF_NVM_WRITE_UNCORRECTABLE = 0x04,
	NOF_NVM_COMPARE = 0x05,
	NOF_NVM_WRITE_ZEROES = 0x08,
	NOF_NVM_DSM = 0x09,
	NOF_NVM_VERIFY = 0x0c,
	NOF_NVM_RESV_REGISTER = 0x0d,
	NOF_NVM_RESV_REPORT = 0x0e,
	NOF_NVM_RESV_ACQUIRE = 0x11,
	NOF_NVM_RESV_RELEASE = 0x15,
};
/* Opcode bits 1:0: Base figure 88. */
#define NOF_OPC_H2C 0x01
#define NOF_OPC_C2H 0x02

#define NOF_NSID_ALL UINT32_MAX
/* NVM 3.2: CDW12 of Read, Write, Compare, Write Zeroes: NLB 15:0, 0's based. */
#define NOF_RW_LR (1U << 31)
#define NOF_RW_FUA (1U << 30)
#define NOF_WZ_DEAC (1U << 25)
#define NOF_RW_BLOCKS_MAX 65536U
/* NVM 3.2.3: CDW10 NR 7:0, 0's based; CDW11. */
#define NOF_DSM_AD (1U << 2)
#define NOF_DSM_RANGES_MAX 256U
struct nof_dsm_range {
	dpu_le32 attr;
	dpu_le32 nlb; // not 0's based
	dpu_le64 slba;
};
static_assert(sizeof(struct nof_dsm_range) == 16, "NVM 3.2.3, figure 39");

/* ---- Fabrics commands: Base 6 ---- */
#define NOF_OPC_FABRICS 0x7f
enum nof_fctype {
	NOF_FC_PROPERTY_SET = 0x00,
	NOF_FC_CONNECT = 0x01,
	NOF_FC_PROPERTY_GET = 0x04,
	NOF_FC_AUTH_SEND = 0x05,
	NOF_FC_AUTH_RECV = 0x06,
	NOF_FC_DISCONNECT = 0x08,
};

/* Base 6.3, figure 380. */
struct nof_connect_sqe {
	uint8_t opc, flags;
	dpu_le16 cid;
	uint8_t fctype;
	uint8_t rsvd5[19];
	struct nof_sgl sgl;
	dpu_le16 recfmt; // 0
	dpu_le16 qid;
	dpu_le16 sqsize; // 0's based
	uint8_t cattr;
	uint8_t rsvd47;
	dpu_le32 kato_ms; // admin queue only
	uint8_t rsvd52[12];
};
static_assert(sizeof(struct nof_connect_sqe) == 64, "Base 6.3");
#define NOF_CATTR_NO_SQ_FLOW 0x04 // the controller does not move SQHD
#define NOF_SQHD_NONE 0xffff // SQHD when flow control is off

/* Base 6.3, figure 381. */
#define NOF_NQN_SIZE 256
#define NOF_NQN_MAX 223 // bytes without the terminating zero: Base 4.5
struct nof_connect_data {
	uint8_t hostid[16];
	dpu_le16 cntlid; // NOF_CNTLID_*
	uint8_t rsvd18[238];
	char subnqn[NOF_NQN_SIZE];
	char hostnqn[NOF_NQN_SIZE];
	uint8_t rsvd768[256];
};
static_assert(sizeof(struct nof_connect_data) == 1024, "Base 6.3");
#define NOF_CNTLID_DYNAMIC 0xffff
#define NOF_CNTLID_STATIC 0xfffe
/* CQE of Connect, figure 383: on success CNTLID 15:0, on NOF_SC_CONNECT_PARAM IPO 15:0, IATTR. */
#define NOF_AUTHREQ_ATR (1U << 17)
#define NOF_AUTHREQ_ASCR (1U << 18)
#define NOF_IPO_IN_DATA (1U << 16) // the offset counts in the data, not in the SQE

/* Base 6.5 and 6.6. */
struct nof_property_sqe {
	uint8_t opc, flags;
	dpu_le16 cid;
	uint8_t fctype;
	uint8_t rsvd5[35];
	uint8_t attrib; // NOF_PROP_4 or NOF_PROP_8
	uint8_t rsvd41[3];
	dpu_le32 off;
	dpu_le64 value; // Property Set
	uint8_t rsvd56[8];
};
static_assert(sizeof(struct nof_property_sqe) == 64, "Base 6.5, 6.6");
#define NOF_PROP_4 0
#define NOF_PROP_8 1

/* Controller properties: Base 3.1.4. */
enum nof_prop {
	NOF_PROP_CAP = 0x00,
	NOF_PROP_VS = 0x08,
	NOF_PROP_CC = 0x14,
	NOF_PROP_CSTS = 0x1c,
	NOF_PROP_NSSR = 0x20,
};
#define NOF_CAP_MQES(cap) ((uint32_t)((cap)&0xffff)) // 0's based
#define NOF_CAP_CQR (1ULL << 16)
#define NOF_CAP_TO(cap) ((uint32_t)((cap) >> 24 & 0xff)) // of 500 ms
#define NOF_CAP_TO_SHIFT 24
#define NOF_CAP_CSS_NVM (1ULL << 37)
#define NOF_CAP_MPSMIN(cap) ((uint32_t)((cap) >> 48 & 15)) // 2^(12 + n)
#define NOF_CAP_MPSMAX(cap) ((uint32_t)((cap) >> 52 & 15))
#define NOF_CC_EN 1U
#define NOF_CC_CSS(cc) ((cc) >> 4 & 7)
#define NOF_CC_MPS(cc) ((cc) >> 7 & 15)
#define NOF_CC_MPS_SHIFT 7
#define NOF_CC_AMS(cc) ((cc) >> 11 & 7)
#define NOF_CC_SHN(cc) ((cc) >> 14 & 3)
#define NOF_CC_SHN_NORMAL (1U << 14)
#define NOF_CC_SHN_ABRUPT (2U << 14)
#define NOF_CC_IOSQES(cc) ((cc) >> 16 & 15)
#define NOF_CC_IOCQES(cc) ((cc) >> 20 & 15)
#define NOF_CC_ENTRY_SIZES (6U << 16 | 4U << 20) // 64 and 16 bytes
#define NOF_CSTS_RDY 1U
#define NOF_CSTS_CFS 2U // fatal
#define NOF_CSTS_SHST(csts) ((csts) >> 2 & 3)
#define NOF_CSTS_SHST_DONE (2U << 2)
#define NOF_VS_1_3 0x00010300U
#define NOF_VS_1_4 0x00010400U
#define NOF_VS_2_0 0x00020000U

/* ---- Identify: Base 5.17 ---- */
enum nof_cns {
	NOF_CNS_NS = 0x00,
	NOF_CNS_CTRL = 0x01,
	NOF_CNS_NS_LIST = 0x02, // active, above CDW1.NSID
	NOF_CNS_NS_DESC = 0x03,
	NOF_CNS_CS_NS = 0x05,
	NOF_CNS_CS_CTRL = 0x06,
	NOF_CNS_CS_NS_LIST = 0x07,
	NOF_CNS_INDEP_NS = 0x08,
	NOF_CNS_NS_LIST_ALLOC = 0x10,
	NOF_CNS_CTRL_LIST_NS = 0x12,
	NOF_CNS_CTRL_LIST = 0x13,
};
#define NOF_IDENTIFY_LEN 4096U
#define NOF_NS_LIST_MAX 1024U // entries of 4 bytes

/* Base 5.17.2.1, figure 276. */
struct nof_id_ctrl {
	dpu_le16 vid, ssvid;
	char sn[20], mn[40], fr[8];
	uint8_t rab, ieee[3];
	uint8_t cmic;
	uint8_t mdts; // 2^n of the smallest page size, 0: no limit
	dpu_le16 cntlid;
	dpu_le32 ver, rtd3r, rtd3e;
	dpu_le32 oaes;
	dpu_le32 ctratt;
	dpu_le16 rrls;
	uint8_t rsvd102[9];
	uint8_t cntrltype; // 1: I/O, 2: discovery
	uint8_t fguid[16];
	dpu_le16 crdt[3]; // of 100 ms
	uint8_t rsvd134[122];
	dpu_le16 oacs;
	uint8_t acl, aerl; // 0's based
	uint8_t frmw, lpa, elpe, npss, avscc, apsta;
	dpu_le16 wctemp, cctemp, mtfa;
	dpu_le32 hmpre, hmmin;
	uint8_t tnvmcap[16], unvmcap[16];
	dpu_le32 rpmbs;
	dpu_le16 edstt;
	uint8_t dsto, fwug;
	dpu_le16 kas; // granularity of keep alive, of 100 ms; 0: no keep alive
	dpu_le16 hctma, mntmt, mxtmt;
	dpu_le32 sanicap, hmminds;
	dpu_le16 hmmaxd, nsetidmax, endgidmax;
	uint8_t anatt; // seconds
	uint8_t anacap;
	dpu_le32 anagrpmax, nanagrpid;
	dpu_le32 pels;
	dpu_le16 domain;
	uint8_t rsvd358[10];
	uint8_t megcap[16];
	uint8_t tmpthha, rsvd385;
	dpu_le16 cqt; // Base 2.1: command quiesce time in ms, 0: not said
	uint8_t rsvd388[124];
	uint8_t sqes, cqes; // required 3:0, maximum 7:4, as powers of two
	dpu_le16 maxcmd;
	dpu_le32 nn;
	dpu_le16 oncs, fuses;
	uint8_t fna;
	uint8_t vwc;
	dpu_le16 awun, awupf; // 0's based
	uint8_t icsvscc, nwpc;
	dpu_le16 acwu, cdfs; // acwu: 0's based
	dpu_le32 sgls;
	dpu_le32 mnan;
	uint8_t rsvd544[224];
	char subnqn[NOF_NQN_SIZE];
	uint8_t rsvd1024[768];
	dpu_le32 ioccsz, iorcsz; // of 16 bytes
	dpu_le16 icdoff; // of 16 bytes
	uint8_t fcatt; // bit 0: static controllers
	uint8_t msdbd;
	dpu_le16 ofcs;
	uint8_t dctype;
	uint8_t rsvd1807[241];
	uint8_t psd[32][32];
	uint8_t vs[1024];
};
static_assert(sizeof(struct nof_id_ctrl) == 4096, "Base 5.17.2.1");
static_assert(offsetof(struct nof_id_ctrl, cntrltype) == 111, "Base 5.17.2.1");
static_assert(offsetof(struct nof_id_ctrl, oacs) == 256, "Base 5.17.2.1");
static_assert(offsetof(struct nof_id_ctrl, kas) == 320, "Base 5.17.2.1");
static_assert(offsetof(struct nof_id_ctrl, anatt) == 342, "Base 5.17.2.1");
static_assert(offsetof(struct nof_id_ctrl, cqt) == 386, "Base 2.1, 5.1.13.2.1");
static_assert(offsetof(struct nof_id_ctrl, sqes) == 512, "Base 5.17.2.1");
static_assert(offsetof(struct nof_id_ctrl, vwc) == 525, "Base 5.17.2.1");
static_assert(offsetof(struct nof_id_ctrl, sgls) == 536, "Base 5.17.2.1");
static_assert(offsetof(struct nof_id_ctrl, subnqn) == 768, "Base 5.17.2.1");
static_assert(offsetof(struct nof_id_ctrl, ioccsz) == 1792, "Base 5.17.2.1");

#define NOF_CTRLTYPE_IO 1
#define NOF_CTRLTYPE_DISCOVERY 2
#define NOF_CMIC_PORTS 0x01
#define NOF_CMIC_CTRLS 0x02
#define NOF_CMIC_ANA 0x08
#define NOF_OAES_NS_ATTR (1U << 8)
#define NOF_OAES_ANA (1U << 11)
#define NOF_OAES_DISCOVERY (1U << 31)
#define NOF_CTRATT_HOSTID_128 (1U << 0)
#define NOF_CTRATT_TBKAS (1U << 6) // traffic restarts the keep-alive timer
#define NOF_ONCS_COMPARE (1U << 0)
#define NOF_ONCS_DSM (1U << 2)
#define NOF_ONCS_WRITE_ZEROES (1U << 3)
#define NOF_ONCS_RESERVATIONS (1U << 5)
#define NOF_ONCS_VERIFY (1U << 7)
#define NOF_FUSES_COMPARE_WRITE 1U
#define NOF_VWC_PRESENT 0x01
#define NOF_VWC_ALL_YES 0x06 // flush of all namespaces is there
#define NOF_VWC_ALL_NO 0x04
#define NOF_SGLS_SUPPORTED 1U
#define NOF_SGLS_KEYED (1U << 2)
#define NOF_SGLS_OFFSET (1U << 20) // an offset in the capsule
#define NOF_SGLS_TRANSPORT (1U << 21)
#define NOF_LPA_OFFSET 0x04 // extended data: offset and length of logs
#define NOF_ANACAP_OPTIMIZED 0x01
#define NOF_ANACAP_NON_OPTIMIZED 0x02
#define NOF_ANACAP_INACCESSIBLE 0x04
#define NOF_ANACAP_LOSS 0x08
#define NOF_ANACAP_CHANGE 0x10

/* NVM 4.1.5.1, figure 97. */
struct nof_lbaf {
	dpu_le16 ms; // bytes of metadata
	uint8_t lbads; // 2^n bytes
	uint8_t rp;
};
static_assert(sizeof(struct nof_lbaf) == 4, "NVM 4.1.5.1");

struct nof_id_ns {
	dpu_le64 nsze, ncap, nuse; // blocks
	uint8_t nsfeat;
	uint8_t nlbaf; // 0's based
	uint8_t flbas; // index 3:0 and 6:5, bit 4: extended LBA
	uint8_t mc, dpc, dps;
	uint8_t nmic; // bit 0: shared
	uint8_t rescap, fpi, dlfeat;
	dpu_le16 nawun, nawupf, nacwu, nabsn, nabo, nabspf, noiob;
	uint8_t nvmcap[16];
	dpu_le16 npwg, npwa, npdg, npda, nows;
	dpu_le16 mssrl;
	dpu_le32 mcl;
	uint8_t msrc;
	uint8_t rsvd81[11];
	dpu_le32 anagrpid;
	uint8_t rsvd96[3];
	uint8_t nsattr; // bit 0: write protected
	dpu_le16 nvmsetid, endgid;
	uint8_t nguid[16], eui64[8];
	struct nof_lbaf lbaf[64];
	uint8_t vs[3712];
};
static_assert(sizeof(struct nof_id_ns) == 4096, "NVM 4.1.5.1");
static_assert(offsetof(struct nof_id_ns, anagrpid) == 92, "NVM 4.1.5.1");
static_assert(offsetof(struct nof_id_ns, nguid) == 104, "NVM 4.1.5.1");
static_assert(offsetof(struct nof_id_ns, lbaf) == 128, "NVM 4.1.5.1");
#define NOF_NSFEAT_THIN 0x01
#define NOF_NSFEAT_ATOMIC 0x02 // NAWUN, NAWUPF and NACWU say something; 0: as the controller
#define NOF_NSFEAT_OPTPERF 0x10
#define NOF_NMIC_SHARED 0x01
#define NOF_NSATTR_WP 0x01
#define NOF_DLFEAT_READS_ZERO 0x01
#define NOF_DLFEAT_WZ_DEAC 0x08
#define NOF_FLBAS_EXTENDED 0x10

/* Base 5.17.2.3, figure 277: one descriptor; nidl bytes follow. */
struct nof_ns_desc {
	uint8_t nidt, nidl, rsvd[2];
};
static_assert(sizeof(struct nof_ns_desc) == 4, "Base 5.17.2.3");
enum nof_nidt { NOF_NIDT_EUI64 = 1, NOF_NIDT_NGUID = 2, NOF_NIDT_UUID = 3, NOF_NIDT_CSI = 4 };

/* ---- features: Base 5.27 ---- */
enum nof_feature {
	NOF_FEAT_VWC = 0x06,
	NOF_FEAT_QUEUES = 0x07, // NSQ 15:0, NCQ 31:16, both 0's based
	NOF_FEAT_AEC = 0x0b, // asynchronous events; the bits of OAES
	NOF_FEAT_KATO = 0x0f, // ms
	NOF_FEAT_HOSTID = 0x81,
};

/* ---- logs: Base 5.16 ---- */
enum nof_log {
	NOF_LOG_SUPPORTED = 0x00,
	NOF_LOG_ERROR = 0x01,
	NOF_LOG_SMART = 0x02,
	NOF_LOG_FIRMWARE = 0x03,
	NOF_LOG_CHANGED_NS = 0x04,
	NOF_LOG_EFFECTS = 0x05,
	NOF_LOG_ANA = 0x0c,
	NOF_LOG_DISCOVERY = 0x70,
};
/* CDW10: LID 7:0, LSP 14:8, RAE 15, NUMDL 31:16; CDW11: NUMDU 15:0; CDW12, 13: offset. */
#define NOF_LOG_RAE (1U << 15)
#define NOF_LOG_ANA_RGO (1U << 8) // groups only
#define NOF_LOG_CHANGED_MAX 1024U

/* Base 5.16.1.13, figures 217 and 218. */
struct nof_ana_log {
	dpu_le64 chgcnt;
	dpu_le16 ngrps;
	uint8_t rsvd[6];
};
static_assert(sizeof(struct nof_ana_log) == 16, "Base 5.16.1.13");
struct nof_ana_group {
	dpu_le32 grpid;
	dpu_le32 nnsids;
	dpu_le64 chgcnt;
	uint8_t state; // 3:0: enum nof_ana
	uint8_t rsvd[15];
	/* nnsids of dpu_le32 follow */
};
static_assert(sizeof(struct nof_ana_group) == 32, "Base 5.16.1.13");
enum nof_ana {
	NOF_ANA_OPTIMIZED = 1,
	NOF_ANA_NON_OPTIMIZED = 2,
	NOF_ANA_INACCESSIBLE = 3,
	NOF_ANA_LOSS = 4,
	NOF_ANA_CHANGE = 15,
};

/* Base 5.16.1.23, figures 264 and 265. */
struct nof_disc_log {
	dpu_le64 genctr;
	dpu_le64 numrec;
	dpu_le16 recfmt;
	uint8_t rsvd[1006];
};
static_assert(sizeof(struct nof_disc_log) == 1024, "Base 5.16.1.23");
struct nof_disc_entry {
	uint8_t trtype, adrfam, subtype, treq;
	dpu_le16 portid;
	dpu_le16 cntlid;
	dpu_le16 asqsz;
	dpu_le16 eflags;
	uint8_t rsvd12[20];
	char trsvcid[32];
	uint8_t rsvd64[192];
	char subnqn[NOF_NQN_SIZE];
	char traddr[256];
	uint8_t tsas[256]; // TCP 3.6.1: byte 0 is the security type
};
static_assert(sizeof(struct nof_disc_entry) == 1024, "Base 5.16.1.23");
enum nof_trtype { NOF_TRTYPE_RDMA = 1, NOF_TRTYPE_FC = 2, NOF_TRTYPE_TCP = 3 };
enum nof_adrfam { NOF_ADRFAM_IPV4 = 1, NOF_ADRFAM_IPV6 = 2 };
enum nof_subtype { NOF_SUB_REFERRAL = 1, NOF_SUB_NVM = 2, NOF_SUB_CURRENT = 3 };
#define NOF_TREQ_SECURE_REQUIRED 1
#define NOF_TREQ_SECURE_NOT_REQUIRED 2
#define NOF_TREQ_NO_SQ_FLOW 4
#define NOF_EFLAGS_DUPRETINFO 1
#define NOF_EFLAGS_EPCSD 2 // explicit persistent connections

/* ---- asynchronous events: Base 5.2, DW0: type 2:0, information 15:8, log 23:16 ---- */
#define NOF_AER_TYPE(dw0) ((dw0)&7)
#define NOF_AER_INFO(dw0) ((dw0) >> 8 & 0xff)
#define NOF_AER_LOG(dw0) ((dw0) >> 16 & 0xff)
#define NOF_AER_DW0(type, info, log) ((type) | (uint32_t)(info) << 8 | (uint32_t)(log) << 16)
#define NOF_AER_NOTICE 2
#define NOF_NOTICE_NS_ATTR 0x00
#define NOF_NOTICE_ANA 0x03
#define NOF_NOTICE_DISCOVERY 0xf0

/* ---- NVMe/TCP PDUs: TCP 3.6.2 ---- */
enum nof_pdu_type {
	NOF_PDU_ICREQ = 0x00,
	NOF_PDU_ICRESP = 0x01,
	NOF_PDU_H2C_TERM = 0x02,
	NOF_PDU_C2H_TERM = 0x03,
	NOF_PDU_CMD = 0x04,
	NOF_PDU_RESP = 0x05,
	NOF_PDU_H2C_DATA = 0x06,
	NOF_PDU_C2H_DATA = 0x07,
	NOF_PDU_R2T = 0x09,
};

/* TCP 3.6.1: the common header. */
struct nof_ch {
	uint8_t type;
	uint8_t flags;
	uint8_t hlen; // of the header, without its digest
	uint8_t pdo; // where data begins, 0: none
	dpu_le32 plen; // of everything
};
static_assert(sizeof(struct nof_ch) == 8, "TCP 3.6.1");
#define NOF_F_HDGST 0x01
#define NOF_F_DDGST 0x02
#define NOF_F_LAST 0x04
#define NOF_F_SUCCESS 0x08 // C2HData: no response capsule follows

#define NOF_DGST_LEN 4U
/* TCP 3.6.2.2 and 3.6.2.3 */
struct nof_icreq {
	struct nof_ch ch;
	dpu_le16 pfv; // 0
	uint8_t hpda; // alignment of data to the host, of 4 bytes, 0's based
	uint8_t dgst;
	dpu_le32 maxr2t; // 0's based
	uint8_t rsvd[112];
};
static_assert(sizeof(struct nof_icreq) == 128, "TCP 3.6.2.2");
struct nof_icresp {
	struct nof_ch ch;
	dpu_le16 pfv;
	uint8_t cpda; // alignment of data to the controller
	uint8_t dgst;
	dpu_le32 maxh2cdata; // bytes of one H2CData, at least 4096
	uint8_t rsvd[112];
};
static_assert(sizeof(struct nof_icresp) == 128, "TCP 3.6.2.3");
#define NOF_DGST_HEADER 0x01
#define NOF_DGST_DATA 0x02
#define NOF_PDA_MAX 31
#define NOF_MAXH2CDATA_MIN 4096U

/* TCP 3.6.2.4 and 3.6.2.5; up to 128 bytes of the PDU in question follow. */
struct nof_term {
	struct nof_ch ch;
	dpu_le16 fes;
	dpu_le32 fei;
	uint8_t rsvd[10];
};
static_assert(sizeof(struct nof_term) == 24, "TCP 3.6.2.4");
#define NOF_TERM_DATA_MAX 128U
enum nof_fes {
	NOF_FES_HEADER = 1, // invalid header field; fei: its offset
	NOF_FES_SEQUENCE = 2,
	NOF_FES_HDGST = 3, // fei: the digest received
	NOF_FES_RANGE = 4, // data transfer out of range
	NOF_FES_LIMIT = 5, // R2T or data transfer limit exceeded
	NOF_FES_UNSUPPORTED = 6,
};

/* TCP 3.6.2.6 to 3.6.2.10 */
struct nof_cmd_pdu {
	struct nof_ch ch;
	struct nof_sqe sqe;
};
static_assert(sizeof(struct nof_cmd_pdu) == 72, "TCP 3.6.2.6");
struct nof_resp_pdu {
	struct nof_ch ch;
	struct nof_cqe cqe;
};
static_assert(sizeof(struct nof_resp_pdu) == 24, "TCP 3.6.2.7");
/* H2CData and C2HData (no ttag there). */
struct nof_data_pdu {
	struct nof_ch ch;
	dpu_le16 cccid; // the command's
	dpu_le16 ttag;
	dpu_le32 datao, datal;
	uint8_t rsvd[4];
};
static_assert(sizeof(struct nof_data_pdu) == 24, "TCP 3.6.2.8, 3.6.2.9");
struct nof_r2t_pdu {
	struct nof_ch ch;
	dpu_le16 cccid;
	dpu_le16 ttag;
	dpu_le32 r2to, r2tl;
	uint8_t rsvd[4];
};
static_assert(sizeof(struct nof_r2t_pdu) == 24, "TCP 3.6.2.10");

/* Any PDU's header. */
union nof_pdu {
	struct nof_ch ch;
	struct nof_icreq icreq;
	struct nof_icresp icresp;
	struct nof_term term;
	struct nof_cmd_pdu cmd;
	struct nof_resp_pdu resp;
	struct nof_data_pdu data;
	struct nof_r2t_pdu r2t;
	uint8_t bytes[128];
};
static_assert(sizeof(union nof_pdu) == 128, "the longest header is that of ICReq");

#define NOF_TCP_PORT 4420
#define NOF_TCP_DISCOVERY_PORT 8009
