/*
 * What the kernel's include/uapi/linux/iommufd.h declares (6.14), as much of it as the keeper and
 * who starts it use: Debian 12 has no such header. Each struct begins with its size, and may have
 * grown in a later kernel; ENOTTY says that this one does not know the request.
 */
#pragma once

#include <linux/ioctl.h>
#include <linux/types.h>

#define IOMMUFD_TYPE (';')
#define IOMMU_DESTROY _IO(IOMMUFD_TYPE, 0x80)
#define IOMMU_IOAS_ALLOC _IO(IOMMUFD_TYPE, 0x81)
#define IOMMU_IOAS_COPY _IO(IOMMUFD_TYPE, 0x83)
#define IOMMU_IOAS_MAP _IO(IOMMUFD_TYPE, 0x85)
#define IOMMU_IOAS_UNMAP _IO(IOMMUFD_TYPE, 0x86)
#define IOMMU_OPTION _IO(IOMMUFD_TYPE, 0x87)
#define IOMMU_VFIO_IOAS _IO(IOMMUFD_TYPE, 0x88)
#define IOMMU_HWPT_ALLOC _IO(IOMMUFD_TYPE, 0x89)
#define IOMMU_IOAS_MAP_FILE _IO(IOMMUFD_TYPE, 0x8f)

struct iommu_destroy {
	__u32 size;
	__u32 id;
};

struct iommu_ioas_alloc {
	__u32 size;
	__u32 flags;
	__u32 out_ioas_id;
};

enum iommufd_ioas_map_flags {
	IOMMU_IOAS_MAP_FIXED_IOVA = 1 << 0,
	IOMMU_IOAS_MAP_WRITEABLE = 1 << 1,
	IOMMU_IOAS_MAP_READABLE = 1 << 2,
};

struct iommu_ioas_map {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__u32 reserved;
	__aligned_u64 user_va;
	__aligned_u64 length;
	__aligned_u64 iova;
};

struct iommu_ioas_map_file {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__s32 fd;
	__aligned_u64 start;
	__aligned_u64 length;
	__aligned_u64 iova;
};

struct iommu_ioas_copy {
	__u32 size;
	__u32 flags;
	__u32 dst_ioas_id;
	__u32 src_ioas_id;
	__aligned_u64 length;
	__aligned_u64 dst_iova;
	__aligned_u64 src_iova;
};

struct iommu_ioas_unmap {
	__u32 size;
	__u32 ioas_id;
	__aligned_u64 iova;
	__aligned_u64 length;
};

enum iommufd_option { IOMMU_OPTION_RLIMIT_MODE = 0 };
enum iommufd_option_ops { IOMMU_OPTION_OP_SET = 0 };

struct iommu_option {
	__u32 size;
	__u32 option_id;
	__u16 op;
	__u16 reserved;
	__u32 object_id;
	__aligned_u64 val64;
};

enum iommufd_vfio_ioas_op {
	IOMMU_VFIO_IOAS_SET = 1,
	IOMMU_VFIO_IOAS_CLEAR = 2,
};

struct iommu_vfio_ioas {
	__u32 size;
	__u32 ioas_id;
	__u16 op;
	__u16 reserved;
};

struct iommu_hwpt_alloc {
	__u32 size;
	__u32 flags;
	__u32 dev_id;
	__u32 pt_id;
	__u32 out_hwpt_id;
	__u32 reserved;
	__u32 data_type;
	__u32 data_len;
	__aligned_u64 data_uptr;
};

_Static_assert(
	sizeof(struct iommu_destroy) == 8 && sizeof(struct iommu_ioas_alloc) == 12 &&
		sizeof(struct iommu_ioas_map) == 40 && sizeof(struct iommu_ioas_map_file) == 40 &&
		sizeof(struct iommu_ioas_copy) == 40 && sizeof(struct iommu_ioas_unmap) == 24 &&
		sizeof(struct iommu_option) == 24 && sizeof(struct iommu_vfio_ioas) == 12 &&
		sizeof(struct iommu_hwpt_alloc) == 40,
	"as the kernel has them");
