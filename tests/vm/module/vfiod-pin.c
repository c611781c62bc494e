// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Mediated devices that pin what they are told to, through the IOMMU interface of VFIO: as the
 * drivers of GPUs do for their mdevs. No sample of the kernel does so, and without it nobody could
 * say who pays for such pins. For tests: they are devices of no hardware.
 *
 * The parent is the platform device "vfiod_pin", the type "vfiod_pin-1". On a device's descriptor:
 *   pwrite(struct pin_range, PIN_AT)     pins; all or none
 *   pwrite(struct pin_range, UNPIN_AT)   unpins what of it is pinned
 *   pread, pwrite(8 bytes, at an IOVA)   of a pinned page, as the device would; else EFAULT
 * A reset unpins all; so does the last close, and an unmap of it.
 */
#include <linux/highmem.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/vfio.h>
#include <linux/xarray.h>

/* BATCH: an iommufd lets go only of what was pinned at once (iommufd_access_unpin_pages), and we
 * unpin by the page. */
enum { PIN_AT = 0, UNPIN_AT = 16, MAX_INSTANCES = 8, BATCH = 1 };

struct pin_range {
	__u64 iova, n_pages;
};

struct pin_device {
	struct vfio_device vdev;
	struct mutex lock;
	struct xarray pages; /* by IOVA / PAGE_SIZE */
};

static struct pin_device *pin_device_of(struct vfio_device *vdev)
{
	return container_of(vdev, struct pin_device, vdev);
}

static void unpin(struct pin_device *device, u64 first, u64 last)
{
	struct page *page;
	unsigned long index;

	xa_for_each_range(&device->pages, index, page, first, last)
	{
		xa_erase(&device->pages, index);
		vfio_unpin_pages(&device->vdev, (dma_addr_t)index << PAGE_SHIFT, 1);
	}
}

static int pin(struct pin_device *device, u64 first, u64 n)
{
	struct page *pages[BATCH];
	u64 done = 0;
	int r = 0;

	while (r >= 0 && done < n) {
		int batch = min_t(u64, n - done, BATCH), i;

		for (i = 0; i < batch && r >= 0; i++)
			r = xa_load(&device->pages, first + done + i)
				    ? -EEXIST
				    : xa_reserve(&device->pages, first + done + i, GFP_KERNEL);
		if (r >= 0)
			r = vfio_pin_pages(&device->vdev, (first + done) << PAGE_SHIFT, batch,
				IOMMU_READ | IOMMU_WRITE, pages);
		/* All of them, or none. */
		for (i = 0; i < batch; i++)
			if (r > 0)
				xa_store(&device->pages, first + done + i, pages[i], GFP_KERNEL);
			else
				xa_release(&device->pages, first + done + i);
		if (r > 0)
			done += batch;
	}
	if (r < 0 && done > 0)
		unpin(device, first, first + done - 1);
	return r < 0 ? r : 0;
}

static int pin_init(struct vfio_device *vdev)
{
	struct pin_device *device = pin_device_of(vdev);

	mutex_init(&device->lock);
	xa_init(&device->pages);
	return 0;
}

static void pin_release(struct vfio_device *vdev)
{
	struct pin_device *device = pin_device_of(vdev);

	xa_destroy(&device->pages);
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
	vfio_free_device(vdev);
#endif
}

static int pin_open(struct vfio_device *vdev)
{
	return 0;
}

static void unpin_all(struct vfio_device *vdev)
{
	struct pin_device *device = pin_device_of(vdev);

	mutex_lock(&device->lock);
	unpin(device, 0, ULONG_MAX);
	mutex_unlock(&device->lock);
}

static void pin_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct pin_device *device = pin_device_of(vdev);

	mutex_lock(&device->lock);
	unpin(device, iova >> PAGE_SHIFT, (iova + length - 1) >> PAGE_SHIFT);
	mutex_unlock(&device->lock);
}

/* Eight bytes of memory, where it is pinned. */
static ssize_t word(struct vfio_device *vdev, char __user *to, const char __user *from, loff_t at)
{
	struct pin_device *device = pin_device_of(vdev);
	struct page *page;
	u64 value = 0;

	if (at < 0 || at & 7)
		return -EINVAL;
	if (from && copy_from_user(&value, from, sizeof(value)))
		return -EFAULT;
	mutex_lock(&device->lock);
	page = xa_load(&device->pages, at >> PAGE_SHIFT);
	if (page) {
		char *mapped = kmap_local_page(page);

		memcpy(from ? mapped + offset_in_page(at) : (char *)&value,
			from ? (char *)&value : mapped + offset_in_page(at), sizeof(value));
		kunmap_local(mapped);
	}
	mutex_unlock(&device->lock);
	if (!page || (to && copy_to_user(to, &value, sizeof(value))))
		return -EFAULT;
	return sizeof(value);
}

static ssize_t pin_read(struct vfio_device *vdev, char __user *to, size_t count, loff_t *at)
{
	return count == sizeof(u64) ? word(vdev, to, NULL, *at) : -EINVAL;
}

static ssize_t pin_write(
	struct vfio_device *vdev, const char __user *from, size_t count, loff_t *at)
{
	struct pin_device *device = pin_device_of(vdev);
	struct pin_range range;
	int r = 0;

	if (count == sizeof(u64))
		return word(vdev, NULL, from, *at);
	if (count != sizeof(range) || (*at != PIN_AT && *at != UNPIN_AT))
		return -EINVAL;
	if (copy_from_user(&range, from, sizeof(range)))
		return -EFAULT;
	if (range.iova & ~PAGE_MASK || range.n_pages == 0 || range.n_pages > U64_MAX >> PAGE_SHIFT)
		return -EINVAL;
	mutex_lock(&device->lock);
	if (*at == PIN_AT)
		r = pin(device, range.iova >> PAGE_SHIFT, range.n_pages);
	else
		unpin(device, range.iova >> PAGE_SHIFT,
			(range.iova >> PAGE_SHIFT) + range.n_pages - 1);
	mutex_unlock(&device->lock);
	return r < 0 ? r : count;
}

static long pin_ioctl(struct vfio_device *vdev, unsigned int request, unsigned long argument)
{
	struct vfio_device_info info = {
		.argsz = sizeof(info),
		.flags = VFIO_DEVICE_FLAGS_RESET,
	};
	u32 size;

	switch (request) {
	case VFIO_DEVICE_GET_INFO:
		if (get_user(size, (u32 __user *)argument))
			return -EFAULT;
		if (size < offsetofend(struct vfio_device_info, num_irqs))
			return -EINVAL;
		return copy_to_user(
			       (void __user *)argument, &info, min_t(size_t, size, sizeof(info)))
			       ? -EFAULT
			       : 0;
	case VFIO_DEVICE_RESET:
		unpin_all(vdev);
		return 0;
	default:
		return -ENOTTY;
	}
}

static const struct vfio_device_ops pin_ops = {
	.name = "vfiod-pin",
	.init = pin_init,
	.release = pin_release,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	/* In iommufd, too: drivers/vfio/iommufd.c makes an access of it. */
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
#endif
	.open_device = pin_open,
	.close_device = unpin_all,
	.read = pin_read,
	.write = pin_write,
	.ioctl = pin_ioctl,
	.dma_unmap = pin_dma_unmap,
};

static int pin_probe(struct mdev_device *mdev)
{
	struct pin_device *device = vfio_alloc_device(pin_device, vdev, &mdev->dev, &pin_ops);
	int r;

	if (IS_ERR(device))
		return PTR_ERR(device);
	r = vfio_register_emulated_iommu_dev(&device->vdev);
	if (r) {
		vfio_put_device(&device->vdev);
		return r;
	}
	dev_set_drvdata(&mdev->dev, device);
	return 0;
}

static void pin_remove(struct mdev_device *mdev)
{
	struct pin_device *device = dev_get_drvdata(&mdev->dev);

	vfio_unregister_group_dev(&device->vdev);
	vfio_put_device(&device->vdev);
}

static struct mdev_driver pin_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.max_instances = MAX_INSTANCES,
	.driver = { .name = "vfiod_pin", .owner = THIS_MODULE, .mod_name = KBUILD_MODNAME },
	.probe = pin_probe,
	.remove = pin_remove,
};

static struct mdev_type pin_type = { .sysfs_name = "1", .pretty_name = "Pins what it is told" };
static struct mdev_type *pin_types[] = { &pin_type };
static struct mdev_parent pin_parent;
static struct platform_device *pin_platform_device;

static int pin_parent_probe(struct platform_device *platform)
{
	return mdev_register_parent(&pin_parent, &platform->dev, &pin_driver, pin_types, 1);
}

static struct platform_driver pin_parent_driver = { .driver = { .name = "vfiod_pin" } };

static int __init pin_module_init(void)
{
	int r = mdev_register_driver(&pin_driver);

	if (r)
		return r;
	pin_platform_device =
		platform_create_bundle(&pin_parent_driver, pin_parent_probe, NULL, 0, NULL, 0);
	if (IS_ERR(pin_platform_device)) {
		mdev_unregister_driver(&pin_driver);
		return PTR_ERR(pin_platform_device);
	}
	return 0;
}

static void __exit pin_module_exit(void)
{
	mdev_unregister_parent(&pin_parent);
	platform_device_unregister(pin_platform_device);
	platform_driver_unregister(&pin_parent_driver);
	mdev_unregister_driver(&pin_driver);
}

module_init(pin_module_init);
module_exit(pin_module_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Mediated devices that pin what they are told to");
